//! From a pickle's notes to values: tensors are views of storages, everything else is plain data or stays a name.

use super::archive::Archive;
use super::pickle::{Id, Node, Program};
use super::{PthError, Value};
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// How deep containers may be nested.
const DEPTH: usize = 64;
/// How many values a pickle may unfold into.
const VALUES: usize = 4_000_000;
/// How often a file's bytes may be copied out, as tensors share storages, and lists and dicts share texts.
pub(super) const COPIES: usize = 8;

/// The storages of `torch`, by class.
pub(super) const STORAGES: [(&str, Kind); 9] = [
    ("FloatStorage", Kind::Float),
    ("DoubleStorage", Kind::Double),
    ("HalfStorage", Kind::Half),
    ("BFloat16Storage", Kind::BFloat16),
    ("LongStorage", Kind::Int64),
    ("IntStorage", Kind::Int),
    ("ShortStorage", Kind::Int16),
    ("CharStorage", Kind::Int8),
    ("ByteStorage", Kind::Uint8),
];
/// Stored as bytes 0 and 1; other bytes are refused.
pub(super) const BOOLS: &str = "BoolStorage";

pub(super) struct Builder<'a> {
    program: &'a Program,
    archive: &'a Archive,
    storages: HashMap<String, Tensor>,
    values: usize,
    bytes_left: usize,
    depth: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(program: &'a Program, archive: &'a Archive, file: usize) -> Self {
        let bytes_left = file.saturating_mul(COPIES);
        Self { program, archive, storages: HashMap::new(), values: VALUES, bytes_left, depth: 0 }
    }

    pub(super) fn value(&mut self, id: Id) -> Result<Value, PthError> {
        self.values = self.values.checked_sub(1).ok_or_else(|| PthError::Bomb(format!("{VALUES} values")))?;
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(PthError::Bomb(format!("containers {DEPTH} deep")));
        }
        let value = match self.program.node(id) {
            Node::None => Value::None,
            Node::Bool(value) => Value::Bool(*value),
            Node::Int(value) => Value::Int(*value),
            Node::Float(value) => Value::Float(*value),
            Node::Text(value) => Value::Text(self.copied(value)?),
            Node::Other(name) => Value::Opaque((*name).into()),
            Node::Global(name) => Value::Opaque(self.copied(name)?),
            Node::Persistent(_) => Value::Opaque("a storage".into()),
            Node::List(items) => self.list(items)?,
            Node::Dict(entries) => self.dict(entries)?,
            Node::Call { callee, arguments, entries } => self.call(*callee, *arguments, entries)?,
        };
        self.depth -= 1;
        Ok(value)
    }

    fn list(&mut self, items: &[Id]) -> Result<Value, PthError> {
        items.iter().map(|item| self.value(*item)).collect::<Result<_, _>>().map(Value::List)
    }

    fn dict(&mut self, entries: &[(Id, Id)]) -> Result<Value, PthError> {
        let entry = |(key, value): &(Id, Id)| Ok((self.key(*key)?, self.value(*value)?));
        entries.iter().map(entry).collect::<Result<_, _>>().map(Value::Dict)
    }

    fn key(&mut self, id: Id) -> Result<String, PthError> {
        Ok(match self.program.node(id) {
            Node::Text(text) | Node::Global(text) => self.copied(text)?,
            Node::Int(number) => number.to_string(),
            Node::Float(number) => format!("{number:e}"),
            Node::Bool(value) => value.to_string(),
            Node::None => "None".into(),
            _ => "an object".into(),
        })
    }

    /// A copy of a text, which may be shared by many that name it: it counts like a tensor's bytes.
    fn copied(&mut self, text: &str) -> Result<String, PthError> {
        self.charge(text.len(), "shared texts")?;
        Ok(text.into())
    }

    fn charge(&mut self, bytes: usize, what: &str) -> Result<(), PthError> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or_else(|| PthError::Bomb(what.into()))?;
        Ok(())
    }

    fn call(&mut self, callee: Id, arguments: Id, entries: &[(Id, Id)]) -> Result<Value, PthError> {
        let Node::Global(name) = self.program.node(callee) else { return Ok(Value::Opaque("a call".into())) };
        let arguments = self.items(arguments);
        match (name.as_str(), arguments) {
            ("collections OrderedDict", _) => self.dict(entries),
            ("torch Size", [sizes]) => self.value(*sizes),
            ("torch._utils _rebuild_parameter", [tensor, ..]) => self.value(*tensor),
            ("torch._utils _rebuild_tensor_v2", [storage, offset, shape, strides, ..]) => {
                self.tensor(*storage, *offset, *shape, *strides).map(Value::Tensor)
            }
            _ => self.copied(name).map(Value::Opaque),
        }
    }

    /// The members of a list or tuple; none of anything else.
    fn items(&self, id: Id) -> &'a [Id] {
        match self.program.node(id) {
            Node::List(items) => items,
            _ => &[],
        }
    }

    fn tensor(&mut self, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<Tensor, PthError> {
        let wrong = |reason: &str| PthError::Tensor(reason.into());
        let number = |id: Id| match self.program.node(id) {
            Node::Int(number) if *number >= 0 => Ok(*number),
            _ => Err(wrong("its offset, shape or strides are no natural numbers")),
        };
        let numbers = |id: Id| self.items(id).iter().map(|id| number(*id)).collect::<Result<Vec<_>, _>>();
        let (offset, shape, strides) = (number(offset)?, numbers(shape)?, numbers(strides)?);
        let storage = self.storage(storage)?;
        let held = storage.numel() as i64;
        let last = shape.iter().zip(&strides).try_fold(offset, |last, (side, stride)| {
            last.checked_add((side - 1).max(0).checked_mul(*stride)?)
        });
        let count = shape.iter().try_fold(1i64, |count, side| count.checked_mul(*side));
        let fits =
            count.is_some_and(|count| count == 0 || count <= held && last.is_some_and(|last| last < held));
        if !fits || shape.len() != strides.len() || shape.len() > DEPTH {
            let place = format!(
                "shape {shape:?} with strides {strides:?} from {offset} does not fit its storage of {held}"
            );
            return Err(PthError::Tensor(place));
        }
        let bytes = count.unwrap_or(0) as usize * storage.kind().elt_size_in_bytes();
        self.charge(bytes, "shared storages")?;
        let failed = |e: tch::TchError| PthError::Tensor(e.to_string());
        if count == Some(0) {
            return Tensor::f_zeros(&shape, (storage.kind(), tch::Device::Cpu)).map_err(failed);
        }
        storage
            .f_as_strided(&shape, &strides, Some(offset))
            .and_then(|view| view.f_contiguous()?.f_detach_copy())
            .map_err(failed)
    }

    /// A storage as a tensor of one dimension.
    fn storage(&mut self, id: Id) -> Result<Tensor, PthError> {
        let wrong = |reason: String| PthError::Tensor(reason);
        let Node::Persistent(id) = self.program.node(id) else {
            return Err(wrong("its storage is none".into()));
        };
        let [kind, class, key, ..] = self.items(*id) else {
            return Err(wrong("its storage has no name".into()));
        };
        let named = (self.program.node(*kind), self.program.node(*class), self.program.node(*key));
        let (Node::Text(kind), Node::Global(class), Node::Text(key)) = named else {
            return Err(wrong("its storage has no name".into()));
        };
        let class = class.rsplit(' ').next().unwrap_or_default();
        let bools = class == BOOLS;
        let known = STORAGES.iter().find(|(name, _)| *name == class).map(|(_, kind)| *kind);
        let Some(element) = known.or(bools.then_some(Kind::Uint8)).filter(|_| kind == "storage") else {
            return Err(wrong(format!("a {kind} of class {class} is not known")));
        };
        let name = format!("{class} {key}");
        if let Some(tensor) = self.storages.get(&name) {
            return Ok(tensor.shallow_clone());
        }
        let bytes = self
            .archive
            .storage(key)
            .ok_or_else(|| wrong(format!("its storage {key} is not in the file")))?;
        if bools && bytes.iter().any(|byte| *byte > 1) {
            return Err(wrong(format!("storage {key} holds truth values beyond 0 and 1")));
        }
        let count = bytes.len() / element.elt_size_in_bytes();
        let tensor =
            Tensor::f_from_data_size(&bytes[..count * element.elt_size_in_bytes()], &[count as i64], element);
        let tensor = tensor.map_err(|e| wrong(e.to_string()))?;
        let tensor = if bools { tensor.to_kind(Kind::Bool) } else { tensor };
        self.storages.insert(name, tensor.shallow_clone());
        Ok(tensor)
    }
}
