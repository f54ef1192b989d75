//! Pickle's stack machine (Python's `pickletools` documents the opcodes), which calls nothing: a call becomes a note of callee and
//! arguments.

use super::PthError;
use std::collections::HashMap;

/// The number of a node.
pub(super) type Id = usize;

/// What a pickle describes. Containers name their members by number, so that what is shared stays shared.
#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// Bytes, big integers: nothing that a tensor needs.
    Other(&'static str),
    /// A list, tuple or set.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A function or class, `module name`.
    Global(String),
    /// A call that is not made; dict entries that were then set on its result.
    Call {
        callee: Id,
        arguments: Id,
        entries: Vec<(Id, Id)>,
    },
    /// Something outside of the pickle: here, a storage.
    Persistent(Id),
}

/// A pickle that has been run.
pub(super) struct Program {
    nodes: Vec<Node>,
    result: Id,
}

impl Program {
    pub(super) fn run(code: &[u8]) -> Result<Self, PthError> {
        let mut machine = Machine {
            code,
            at: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            names_left: code.len(),
        };
        loop {
            let start = machine.at;
            match machine.step() {
                Ok(None) => {}
                Ok(Some(result)) => return Ok(Self { nodes: machine.nodes, result }),
                Err(reason) => return Err(PthError::Pickle { at: start, reason }),
            }
        }
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        self.nodes.get(id).unwrap_or(&Node::None)
    }

    pub(super) fn result(&self) -> Id {
        self.result
    }
}

/// An opcode's failure: what is wrong.
type Step<T> = Result<T, String>;

struct Machine<'a> {
    code: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Bytes that names of globals may still take which are put together of remembered texts.
    names_left: usize,
}

impl Machine<'_> {
    /// Executes one opcode; the last one gives the result. Every opcode is at least a byte and adds at most one node, which holds no
    /// more than its own bytes of the code or its share of `names_left`, so that memory is bounded by the length of the code.
    fn step(&mut self) -> Step<Option<Id>> {
        match self.byte()? {
            b'.' => return self.pop().map(Some),
            0x80 => drop(self.byte()?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            opcode @ (b'N' | 0x88 | 0x89 | b'J' | b'K' | b'M' | 0x8a | 0x8b | b'G') => self.number(opcode)?,
            opcode @ (b'X' | 0x8c | 0x8d | b'U' | b'T' | b'C' | b'B' | 0x8e | 0x96) => self.text(opcode)?,
            opcode @ (b')' | b't' | 0x85..=0x87 | b']' | b'l' | b'a' | b'e' | 0x8f..=0x91) => {
                self.list(opcode)?
            }
            opcode @ (b'}' | b'd' | b's' | b'u') => self.dict(opcode)?,
            opcode @ (b'c' | 0x93 | b'R' | 0x81 | 0x92 | b'b' | b'Q') => self.object(opcode)?,
            opcode @ (b'q' | b'r' | 0x94 | b'h' | b'j') => self.memory(opcode)?,
            opcode => return Err(format!("opcode {opcode:#04x} is not known")),
        }
        Ok(None)
    }

    fn number(&mut self, opcode: u8) -> Step<()> {
        let node = match opcode {
            b'N' => Node::None,
            0x88 | 0x89 => Node::Bool(opcode == 0x88),
            b'J' => Node::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Node::Int(self.byte()?.into()),
            b'M' => Node::Int(u16::from_le_bytes(self.array()?).into()),
            b'G' => Node::Float(f64::from_be_bytes(self.array()?)),
            _ => {
                let length = if opcode == 0x8a { self.byte()?.into() } else { self.length(4)? };
                long(self.take(length)?).map_or(Node::Other("a big integer"), Node::Int)
            }
        };
        self.push(node)
    }

    fn text(&mut self, opcode: u8) -> Step<()> {
        let length = match opcode {
            0x8c | b'U' | b'C' => self.byte()?.into(),
            0x8d | 0x8e | 0x96 => self.length(8)?,
            _ => self.length(4)?,
        };
        let bytes = self.take(length)?;
        let node = match opcode {
            b'C' | b'B' | 0x8e | 0x96 => Node::Other("bytes"),
            _ => Node::Text(String::from_utf8_lossy(bytes).into_owned()),
        };
        self.push(node)
    }

    fn list(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            b')' | b']' | 0x8f => self.push(Node::List(Vec::new())),
            b't' | b'l' | 0x91 => {
                let items = self.since_mark()?;
                self.push(Node::List(items))
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let start = self.stack.len().checked_sub(count).ok_or("the stack is empty")?;
                let items = self.stack.split_off(start);
                self.push(Node::List(items))
            }
            _ => {
                let items = if opcode == b'a' { vec![self.pop()?] } else { self.since_mark()? };
                let target = self.top()?;
                match self.nodes.get_mut(target) {
                    Some(Node::List(list)) => list.extend(items),
                    // What is added to an object that is not built is lost, as the object is.
                    Some(Node::Call { .. }) => {}
                    _ => return Err("something is appended to what is no list".into()),
                }
                Ok(())
            }
        }
    }

    fn dict(&mut self, opcode: u8) -> Step<()> {
        let items = match opcode {
            b'}' => Vec::new(),
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.since_mark()?,
        };
        let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        if items.len() % 2 == 1 {
            return Err("a key has no value".into());
        }
        if opcode == b'}' || opcode == b'd' {
            return self.push(Node::Dict(pairs.collect()));
        }
        let target = self.top()?;
        match self.nodes.get_mut(target) {
            Some(Node::Dict(entries) | Node::Call { entries, .. }) => entries.extend(pairs),
            _ => return Err("an item is set on what is no dict".into()),
        }
        Ok(())
    }

    fn object(&mut self, opcode: u8) -> Step<()> {
        let node = match opcode {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                Node::Global(format!("{module} {name}"))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.nodes.get(module), self.nodes.get(name)) {
                    (Some(Node::Text(module)), Some(Node::Text(name))) => {
                        let left = self.names_left.checked_sub(module.len() + name.len());
                        self.names_left = left.ok_or("the names of its globals are longer than itself")?;
                        Node::Global(format!("{module} {name}"))
                    }
                    _ => return Err("a global's name is no text".into()),
                }
            }
            b'b' => {
                // The state of an object that is not built.
                self.pop()?;
                return self.top().map(drop);
            }
            b'Q' => Node::Persistent(self.pop()?),
            _ => {
                if opcode == 0x92 {
                    self.pop()?;
                }
                let arguments = self.pop()?;
                Node::Call { callee: self.pop()?, arguments, entries: Vec::new() }
            }
        };
        self.push(node)
    }

    fn memory(&mut self, opcode: u8) -> Step<()> {
        let key = match opcode {
            b'q' | b'h' => u64::from(self.byte()?),
            b'r' | b'j' => self.length(4)? as u64,
            _ => self.memo.len() as u64,
        };
        if opcode == b'h' || opcode == b'j' {
            let id = self.memo.get(&key).ok_or_else(|| format!("nothing is remembered as {key}"))?;
            self.stack.push(*id);
        } else {
            let top = self.top()?;
            self.memo.insert(key, top);
        }
        Ok(())
    }

    fn push(&mut self, node: Node) -> Step<()> {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    fn top(&self) -> Step<Id> {
        self.stack.last().copied().ok_or_else(|| "the stack is empty".into())
    }

    fn pop(&mut self) -> Step<Id> {
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    fn since_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or("there is no mark")?;
        if mark > self.stack.len() {
            return Err("the mark is gone".into());
        }
        Ok(self.stack.split_off(mark))
    }

    fn take(&mut self, length: usize) -> Step<&[u8]> {
        let end =
            self.at.checked_add(length).filter(|end| *end <= self.code.len()).ok_or("it ends too early")?;
        let bytes = &self.code[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn byte(&mut self) -> Step<u8> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "it ends too early".into())
    }

    /// A length of so many bytes, little-endian.
    fn length(&mut self, bytes: usize) -> Step<usize> {
        let number =
            self.take(bytes)?.iter().rev().fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
        usize::try_from(number).map_err(|_| "a length is too large".into())
    }

    fn line(&mut self) -> Step<String> {
        let length =
            self.code[self.at..].iter().position(|byte| *byte == b'\n').ok_or("a line does not end")?;
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.byte()?;
        Ok(line)
    }
}

/// A little-endian number in two's complement, if it fits.
fn long(bytes: &[u8]) -> Option<i64> {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut all = [if negative { 0xff } else { 0 }; 8];
    all.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(all))
}
