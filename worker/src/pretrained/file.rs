//! From a file to named tensors, whatever format it is in.

use crate::error::{Error, Result};
use crate::pth::{self, Value};
use safetensors::{Dtype, SafeTensors};
use shards::store::Folder;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// What a folder's weights may be called, in the order in which they are looked for.
const IN_FOLDER: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
/// The entries below which checkpoints keep their weights.
const WRAPPERS: [&str; 2] = ["model", "state_dict"];

/// Named tensors of a file; floats are f32.
#[derive(Debug)]
pub struct Named {
    /// Where they came from.
    pub file: String,
    /// By the file's names.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Named {
    /// Reads `location`: a `.safetensors` file, a file of `torch.save`, or a folder with `model.safetensors` or
    /// `pytorch_model.bin`; a path or URL.
    ///
    /// # Errors
    /// A store that refuses, nothing there, a format that is not known, damage.
    pub async fn open(location: &str) -> Result<Self> {
        let folder = Folder::open(location)?;
        let mut found = folder.get("").await.ok().flatten().map(|bytes| (location.to_owned(), bytes));
        for name in IN_FOLDER {
            if found.is_none() {
                found = folder.get(name).await?.map(|bytes| (folder.path_of(name), bytes));
            }
        }
        let missing = || Error::Pretrained {
            file: location.into(),
            reason: format!("there is no file, and no folder with {}", IN_FOLDER.join(" or ")),
        };
        let (file, bytes) = found.ok_or_else(missing)?;
        Self::from_bytes(&bytes, &file)
    }

    /// Reads a file that has been fetched; `file` is its name.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(bytes: &[u8], file: &str) -> Result<Self> {
        let failed = |reason: String| Error::Pretrained { file: file.into(), reason };
        // A safetensors file begins with the length of its header, and that with a brace.
        let tensors = if bytes.get(8) == Some(&b'{') {
            safetensors(bytes).map_err(failed)?
        } else {
            flat(pth::read(bytes).map_err(|e| failed(e.to_string()))?).map_err(failed)?
        };
        let tensors = tensors.into_iter().map(|(name, tensor)| (current(&name), single(tensor)));
        Ok(Self { file: file.into(), tensors: tensors.collect() })
    }

    /// Whether any name ends like this.
    pub fn has(&self, end: &str) -> bool {
        self.tensors.keys().any(|name| name.ends_with(end))
    }
}

fn safetensors(bytes: &[u8]) -> std::result::Result<BTreeMap<String, Tensor>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("its safetensors are broken: {e}"))?;
    let tensor = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F64 => Kind::Double,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::I64 => Kind::Int64,
            Dtype::I32 => Kind::Int,
            Dtype::I16 => Kind::Int16,
            Dtype::I8 => Kind::Int8,
            Dtype::U8 => Kind::Uint8,
            other => return Err(format!("{name} is {other:?}, which is not read")),
        };
        let shape: Vec<i64> = view.shape().iter().map(|side| *side as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind).map_err(|e| e.to_string())?;
        Ok((name.to_owned(), tensor))
    };
    file.iter().map(tensor).collect()
}

/// The tensors of a checkpoint: of its `model` or `state_dict` where it has one, else its own.
fn flat(value: Value) -> std::result::Result<BTreeMap<String, Tensor>, String> {
    let Value::Dict(entries) = value else { return Err("it holds no dict of tensors".into()) };
    let wrapped = entries
        .iter()
        .position(|(name, value)| WRAPPERS.contains(&name.as_str()) && matches!(value, Value::Dict(_)));
    if let Some(place) = wrapped {
        let inner = entries.into_iter().nth(place).map_or(Value::None, |(_, value)| value);
        return flat(inner);
    }
    let tensors: BTreeMap<String, Tensor> = entries
        .into_iter()
        .filter_map(|(name, value)| match value {
            Value::Tensor(tensor) => Some((name, tensor)),
            _ => None,
        })
        .collect();
    if tensors.is_empty() { Err("it holds no tensor".into()) } else { Ok(tensors) }
}

/// The name that a LayerNorm's parameter has today; BERT's first files called them gamma and beta.
fn current(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((module, "gamma")) if module.ends_with("LayerNorm") => format!("{module}.weight"),
        Some((module, "beta")) if module.ends_with("LayerNorm") => format!("{module}.bias"),
        _ => name.into(),
    }
}

fn single(tensor: Tensor) -> Tensor {
    if tensor.is_floating_point() { tensor.to_kind(Kind::Float) } else { tensor }
}
