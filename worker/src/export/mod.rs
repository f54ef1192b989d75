//! Weights on their way to other tools: a checkpoint as the published ALBEF's file, as safetensors, or as Hugging Face's folders.

mod albef;
mod hf;

use crate::args::{Export, Format, Which};
use crate::checkpoint;
use crate::error::{Error, Result};
use crate::pth::{self, Value};
use crate::state::Counters;
use crate::weights::Weights;
use proto::{RunConfig, config};
use safetensors::{Dtype, tensor::TensorView};
use shards::{committed, text::Tokenizer};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;
use tch::{Kind, Tensor};
use tokio::runtime::Runtime;

/// A checkpoint's network.
struct Subject {
    config: RunConfig,
    counters: Counters,
    student: Weights,
    teacher: Weights,
    /// `image` and `text` `[capacity, embed]`.
    queue: BTreeMap<String, Tensor>,
}

/// A file to be written: its path below what was asked for (empty: that itself), and its bytes.
type File = (String, Vec<u8>);

/// Does what was asked for and tells it on `out`.
///
/// # Errors
/// A checkpoint that can't be read, a place that is taken or can't be written to.
pub fn act(arguments: &Export, out: &mut impl Write) -> Result<()> {
    let place = &arguments.out;
    if place.exists() {
        return Err(Error::Taken(place.display().to_string()));
    }
    if arguments.weights == Which::Teacher && arguments.format != Format::Hf {
        return Err(Error::BothAlways);
    }
    let runtime = Runtime::new().map_err(|e| Error::System(format!("starting threads: {e}")))?;
    let subject = load(&runtime, arguments)?;
    let files = match arguments.format {
        Format::Albef => {
            let tensors =
                albef::state_dict(&subject)?.into_iter().map(|(name, tensor)| (name, Value::Tensor(tensor)));
            let step = Value::Int(subject.counters.step.0 as i64);
            let whole =
                Value::Dict(vec![("model".into(), Value::Dict(tensors.collect())), ("step".into(), step)]);
            vec![(String::new(), pth::write(&whole)?)]
        }
        Format::Safetensors => vec![(String::new(), encode(&albef::state_dict(&subject)?)?)],
        Format::Hf => {
            let tokenizer = runtime.block_on(Tokenizer::open(&subject.config.text.tokenizer))?;
            hf::folders(&subject, arguments.weights, &tokenizer)?
        }
    };
    write(place, &files)?;
    let mut text = format!("step {} of run {}:\n", subject.counters.step, subject.config.run.name);
    for (name, bytes) in &files {
        text += &format!(
            "  {}  {} bytes\n",
            place.join(name).display().to_string().trim_end_matches('/'),
            bytes.len()
        );
    }
    out.write_all(text.as_bytes()).map_err(|e| Error::System(format!("writing standard output: {e}")))
}

fn load(runtime: &Runtime, arguments: &Export) -> Result<Subject> {
    let (folder, manifest) = runtime.block_on(committed::find(&arguments.checkpoint))?;
    let config = config::stored(&manifest.config, &[])?;
    let wanted = |name: &str| !name.starts_with("optimizer/");
    let (tensors, counters) = runtime.block_on(checkpoint::read(&folder, &manifest, wanted))?;
    let below = |prefix: &str| -> BTreeMap<String, Tensor> {
        let named = tensors
            .iter()
            .filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t.shallow_clone())));
        named.collect()
    };
    let (student, teacher) = (Weights::new(below("student/")), Weights::new(below("teacher/")));
    Ok(Subject { config, counters, student, teacher, queue: below("queue/") })
}

/// Tensors as a safetensors file, marked as PyTorch's.
fn encode(tensors: &[(String, Tensor)]) -> Result<Vec<u8>> {
    let failed = |reason: String| Error::System(format!("encoding safetensors: {reason}"));
    let mut stored = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let (dtype, tensor) = match tensor.kind() {
            Kind::Int64 => (Dtype::I64, tensor.contiguous()),
            _ => (Dtype::F32, tensor.to_kind(Kind::Float).contiguous()),
        };
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        let shape: Vec<usize> = tensor.size().iter().map(|side| *side as usize).collect();
        stored.push((name.clone(), dtype, shape, bytes));
    }
    let views = stored.iter().map(|(name, dtype, shape, bytes)| {
        TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.clone(), view))
    });
    let views = views.collect::<std::result::Result<Vec<_>, _>>().map_err(|e| failed(e.to_string()))?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata)).map_err(|e| failed(e.to_string()))
}

/// Writes all files beside `place`, then gives them its name: what is there is whole.
fn write(place: &Path, files: &[File]) -> Result<()> {
    let failed =
        |e: std::io::Error| Error::Output { path: place.display().to_string(), reason: e.to_string() };
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let partial = place.with_file_name(format!("{name}.partial.{}", std::process::id()));
    let written = files.iter().try_for_each(|(name, bytes)| {
        let path = if name.is_empty() { partial.clone() } else { partial.join(name) };
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut file = fs::File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&partial, place)).map_err(|e| {
        // What is left of a failed attempt is of no use; the first failure is what is told.
        let _ = fs::remove_dir_all(&partial).or_else(|_| fs::remove_file(&partial));
        failed(e)
    })
}
