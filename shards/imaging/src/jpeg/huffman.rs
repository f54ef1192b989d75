//! The entropy-coded bits of a JPEG scan, and the codes in them.

use super::Damage;

/// Bits that one look-up resolves; longer codes are rare and searched.
const LOOKUP: u32 = 10;
/// In an entry of the look-up: the coefficient's value is in it too.
const WHOLE: i32 = 0x80;
/// In an entry of the look-up: the bits it uses up.
const LENGTH: i32 = 0x3f;

/// A canonical code of symbols, as a DHT segment defines it.
pub(super) struct Huffman {
    /// By the next bits: `value << 16 | symbol << 8 | flags and length`; 0 where the code is longer.
    lookup: [i32; 1 << LOOKUP],
    /// By length: the first 16-bit number that is no code of this length or a shorter one.
    ends: [u32; 17],
    /// By length: a code's place in `symbols`, less the code.
    places: [i32; 17],
    symbols: [u8; 256],
}

impl Huffman {
    /// From the numbers of codes of 1 to 16 bits and their symbols; `None` if these don't fit into the bits.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self { lookup: [0; 1 << LOOKUP], ends: [0; 17], places: [0; 17], symbols: [0; 256] };
        table.symbols.get_mut(..symbols.len())?.copy_from_slice(symbols);
        let (mut code, mut place) = (0u32, 0usize);
        for (length, &count) in (1u32..).zip(counts) {
            table.places[length as usize] = place as i32 - code as i32;
            for _ in 0..count {
                if code >= 1 << length || place >= symbols.len() {
                    return None;
                }
                if length <= LOOKUP {
                    table.enter(code, length, symbols[place]);
                }
                (code, place) = (code + 1, place + 1);
            }
            table.ends[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    /// Fills the look-up for every continuation of a code: with the value, where its bits are seen too.
    fn enter(&mut self, code: u32, length: u32, symbol: u8) {
        let rest = LOOKUP - length;
        let size = u32::from(symbol & 15);
        let plain = i32::from(symbol) << 8 | length as i32;
        for tail in 0..1u32 << rest {
            let at = (code << rest | tail) as usize;
            self.lookup[at] = if (1..=rest).contains(&size) {
                let value = extend(tail >> (rest - size), size);
                value << 16 | i32::from(symbol) << 8 | WHOLE | (length + size) as i32
            } else {
                plain
            };
        }
    }

    /// The entry of a code of more than [`LOOKUP`] bits.
    #[cold]
    fn search(&self, buffer: u64) -> Result<i32, Damage> {
        let next = (buffer >> 48) as u32;
        let length =
            (LOOKUP as usize + 1..17).find(|&length| next < self.ends[length]).ok_or(Damage::Code)?;
        let place = self.places[length] + (next >> (16 - length)) as i32;
        let symbol = usize::try_from(place).ok().and_then(|place| self.symbols.get(place));
        Ok(i32::from(*symbol.ok_or(Damage::Code)?) << 8 | length as i32)
    }

    /// The next entry, whose bits are used up.
    #[inline(always)]
    fn next(&self, bits: &mut Bits<'_>) -> Result<i32, Damage> {
        let mut entry = self.lookup[(bits.buffer >> (64 - LOOKUP)) as usize];
        if entry == 0 {
            entry = self.search(bits.buffer)?;
        }
        bits.skip((entry & LENGTH) as u32);
        Ok(entry)
    }

    /// The next number whose size is coded: a DC difference.
    #[inline(always)]
    pub(super) fn difference(&self, bits: &mut Bits<'_>) -> Result<i32, Damage> {
        bits.refill();
        let entry = self.next(bits)?;
        if entry & WHOLE != 0 {
            return Ok(entry >> 16);
        }
        match entry >> 8 & 0xff {
            0 => Ok(0),
            size @ 1..=15 => Ok(bits.number(size as u32)),
            _ => Err(Damage::Code),
        }
    }

    /// Calls `place(index, value)` for each coded coefficient of a block from index 1 on, in the file's order.
    #[inline(always)]
    pub(super) fn coefficients(
        &self,
        bits: &mut Bits<'_>,
        mut place: impl FnMut(usize, i32),
    ) -> Result<(), Damage> {
        let mut index = 1;
        while index < 64 {
            if bits.count < 32 {
                bits.refill();
            }
            let entry = self.next(bits)?;
            let (run, size) = ((entry >> 12 & 15) as usize, entry >> 8 & 15);
            let value = if entry & WHOLE != 0 {
                entry >> 16
            } else if size != 0 {
                bits.number(size as u32)
            } else if run == 15 {
                index += 16;
                continue;
            } else {
                return Ok(());
            };
            index += run;
            place(index & 63, value);
            index += 1;
        }
        if index == 64 { Ok(()) } else { Err(Damage::Code) }
    }
}

/// The number that JPEG writes as `raw` in `size` bits, of which the first tells the sign.
#[inline(always)]
fn extend(raw: u32, size: u32) -> i32 {
    let below = 1i32 << (size - 1);
    let raw = raw as i32;
    if raw < below { raw - 2 * below + 1 } else { raw }
}

/// A reader of bits that takes stuffed zeros out and stops in front of markers.
///
/// What isn't inlined takes it by value, so that its fields stay in registers.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, from the top; below `count` bits there are zeros or bits that will be read again.
    buffer: u64,
    count: u32,
    /// Zeros at the end of `buffer` that no byte stands for.
    invented: u32,
}

impl<'a> Bits<'a> {
    /// From the first byte of entropy-coded data.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, buffer: 0, count: 0, invented: 0 }
    }

    /// Goes on to at least 57 bits.
    #[inline(always)]
    fn refill(&mut self) {
        if let Some(word) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_be_bytes(*word);
            // No byte is 0xff if no byte of the complement is zero.
            let rest = !word;
            if rest.wrapping_sub(0x0101_0101_0101_0101) & !rest & 0x8080_8080_8080_8080 == 0 {
                self.buffer |= word >> self.count;
                let bytes = (63 - self.count) / 8;
                self.at += bytes as usize;
                self.count += 8 * bytes;
                return;
            }
        }
        *self = self.refilled_slowly();
    }

    #[inline(never)]
    fn refilled_slowly(mut self) -> Self {
        while self.count <= 56 {
            let byte = match (self.bytes.get(self.at), self.bytes.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), _) | (None, _) => {
                    self.invented += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
        self
    }

    #[inline(always)]
    fn skip(&mut self, bits: u32) {
        self.buffer = self.buffer.wrapping_shl(bits);
        self.count = self.count.wrapping_sub(bits);
    }

    #[inline(always)]
    fn number(&mut self, size: u32) -> i32 {
        let raw = (self.buffer >> (64 - size)) as u32;
        self.skip(size);
        extend(raw, size)
    }

    /// An error if bits were used that the file doesn't have.
    pub(super) fn check(&self) -> Result<(), Damage> {
        if self.invented > self.count { Err(Damage::End) } else { Ok(()) }
    }

    /// Passes the restart marker that has to stand here; `number` counts them.
    pub(super) fn restart(&mut self, number: u32) -> Result<(), Damage> {
        self.check()?;
        while self.bytes.get(self.at + 1) == Some(&0xff) {
            self.at += 1;
        }
        let marker = 0xd0 | (number % 8) as u8;
        if self.bytes.get(self.at..self.at + 2) != Some(&[0xff, marker]) {
            return Err(Damage::Restart);
        }
        *self = Self::new(self.bytes, self.at + 2);
        Ok(())
    }
}
