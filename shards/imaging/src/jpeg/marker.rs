//! The headers of a JPEG file, up to its first scan.

use super::huffman::Huffman;
use image::metadata::Orientation;

/// What the samples of a file's components mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// One component of luma.
    Grey,
    /// Luma and two differences, as JFIF has them.
    Ycc,
    /// The three channels.
    Rgb,
}

/// One of a frame's components.
#[derive(Clone, Copy, Debug)]
pub(super) struct Component {
    id: u8,
    /// Blocks in a row of one of the file's units.
    pub(super) across: u32,
    /// Rows of blocks of one of the file's units.
    pub(super) down: u32,
    quantiser: usize,
    dc: usize,
    ac: usize,
}

/// What the headers say.
pub(super) struct Header {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: Vec<Component>,
    pub(super) colour: Colour,
    pub(super) orientation: Orientation,
    /// Units between restart markers; 0 without any.
    pub(super) restart: u32,
    /// Where the scan's entropy-coded bytes begin.
    pub(super) scan: usize,
    quantisers: [Option<[u16; 64]>; 4],
    dc: [Option<Box<Huffman>>; 4],
    ac: [Option<Box<Huffman>>; 4],
}

/// The tables with which a component is coded.
pub(super) struct Tables<'a> {
    pub(super) quantiser: &'a [u16; 64],
    pub(super) dc: &'a Huffman,
    pub(super) ac: &'a Huffman,
}

impl Header {
    /// Reads the segments in front of the first scan. `None` for what is not a whole image in one scan of the baseline
    /// or the extended sequential process, in 8 bits, grey or of three components, and for damage.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut header = Self {
            width: 0,
            height: 0,
            components: vec![],
            colour: Colour::Ycc,
            orientation: Orientation::NoTransforms,
            restart: 0,
            scan: 0,
            quantisers: [None; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
        };
        let (mut jfif, mut adobe) = (false, None);
        let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
        loop {
            let (marker, data) = segment(&mut rest)?;
            match marker {
                0xc0 | 0xc1 => header.frame(data)?,
                0xc4 => header.codes(data)?,
                0xdb => header.quantise(data)?,
                0xdd => header.restart = u32::from(word(data, 0)?),
                0xe0 => jfif |= data.starts_with(b"JFIF\0"),
                0xe1 => header.exif(data),
                0xee if data.starts_with(b"Adobe") => adobe = data.get(11).copied(),
                0xda => {
                    header.starts(data)?;
                    header.scan = bytes.len() - rest.len();
                    header.colour = header.meaning(jfif, adobe);
                    return Some(header);
                }
                // The other processes (progressive, lossless, arithmetic) and a height that comes later.
                0xc2..=0xcf | 0xdc => return None,
                _ => {}
            }
        }
    }

    /// Of a component by its place.
    pub(super) fn tables(&self, component: &Component) -> Option<Tables<'_>> {
        Some(Tables {
            quantiser: self.quantisers.get(component.quantiser)?.as_ref()?,
            dc: self.dc.get(component.dc)?.as_ref()?,
            ac: self.ac.get(component.ac)?.as_ref()?,
        })
    }

    /// Blocks of a unit, across and down, of the component that has most.
    pub(super) fn unit(&self) -> (u32, u32) {
        let most = |count: fn(&Component) -> u32| self.components.iter().map(count).max().unwrap_or(1);
        (most(|component| component.across), most(|component| component.down))
    }

    fn frame(&mut self, data: &[u8]) -> Option<()> {
        let [bits, _, _, _, _, count, rest @ ..] = data else { return None };
        (self.height, self.width) = (u32::from(word(data, 1)?), u32::from(word(data, 3)?));
        let known = *bits == 8 && matches!(count, 1 | 3) && self.components.is_empty();
        if !known || self.width == 0 || self.height == 0 || rest.len() != 3 * usize::from(*count) {
            return None;
        }
        for entry in rest.chunks_exact(3) {
            let (across, down) = (u32::from(entry[1] >> 4), u32::from(entry[1] & 15));
            if !matches!((across, down), (1 | 2 | 4, 1 | 2 | 4)) {
                return None;
            }
            // A lone component's units are single blocks, whatever the file calls them.
            let (across, down) = if *count == 1 { (1, 1) } else { (across, down) };
            let quantiser = usize::from(entry[2]);
            self.components.push(Component { id: entry[0], across, down, quantiser, dc: 0, ac: 0 });
        }
        Some(())
    }

    fn codes(&mut self, mut data: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = data {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let symbols = rest.get(..counts.iter().map(|&count| usize::from(count)).sum())?;
            data = &rest[symbols.len()..];
            let dc = kind >> 4 == 0;
            if dc && symbols.iter().any(|&size| size > 11) {
                return None;
            }
            let tables = if dc { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(kind & 15))? = Some(Box::new(Huffman::new(counts, symbols)?));
        }
        Some(())
    }

    fn quantise(&mut self, mut data: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = data {
            let wide = kind >> 4 != 0;
            let length = if wide { 128 } else { 64 };
            let values = rest.get(..length)?;
            data = &rest[length..];
            let value = |at| if wide { word(values, 2 * at).unwrap_or(0) } else { u16::from(values[at]) };
            *self.quantisers.get_mut(usize::from(kind & 15))? = Some(std::array::from_fn(value));
        }
        Some(())
    }

    /// Damaged EXIF data says nothing about the pixels, so it is passed over.
    fn exif(&mut self, data: &[u8]) {
        if let Some(orientation) = data.strip_prefix(b"Exif\0\0").and_then(Orientation::from_exif_chunk) {
            self.orientation = orientation;
        }
    }

    fn starts(&mut self, data: &[u8]) -> Option<()> {
        let [count, rest @ ..] = data else { return None };
        if usize::from(*count) != self.components.len() || rest.len() != 2 * self.components.len() + 3 {
            return None;
        }
        for (component, entry) in self.components.iter_mut().zip(rest.chunks_exact(2)) {
            if component.id != entry[0] {
                return None;
            }
            (component.dc, component.ac) = (usize::from(entry[1] >> 4), usize::from(entry[1] & 15));
        }
        self.components.iter().all(|component| self.tables(component).is_some()).then_some(())
    }

    /// As libjpeg guesses it.
    fn meaning(&self, jfif: bool, adobe: Option<u8>) -> Colour {
        let ids: Vec<u8> = self.components.iter().map(|component| component.id).collect();
        match (ids.as_slice(), adobe) {
            ([_], _) => Colour::Grey,
            (_, _) if jfif => Colour::Ycc,
            (_, Some(transform)) => {
                if transform == 0 {
                    Colour::Rgb
                } else {
                    Colour::Ycc
                }
            }
            (b"RGB", None) => Colour::Rgb,
            _ => Colour::Ycc,
        }
    }
}

/// The next segment: its marker and data.
fn segment<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let [0xff, tail @ ..] = *rest else { return None };
    let at = tail.iter().position(|&byte| byte != 0xff)?;
    let (marker, tail) = (tail[at], &tail[at + 1..]);
    let length = usize::from(word(tail, 0)?);
    let data = tail.get(2..length)?;
    *rest = &tail[length..];
    Some((marker, data))
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}
