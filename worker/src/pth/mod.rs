//! PyTorch's files: the zip of `torch.save` since PyTorch 1.6, read without running anything that is in it, and written so that
//! `torch.load` takes it with `weights_only=True`.
//!
//! A file is a zip of stored entries: a pickle `data.pkl` that describes objects, and the bytes of each storage. A pickle is a program
//! that may call anything; here a stack machine only notes what it would call (`pickle.rs`), and tensors are built from the notes
//! of three known functions (`tensors.rs`). Whatever else is called stays a name.

mod archive;
mod pickle;
mod tensors;
mod write;

pub use write::write;

use archive::Archive;
use pickle::Program;
use tch::Tensor;
use tensors::Builder;

/// What a file holds.
#[derive(Debug)]
pub enum Value {
    /// A tensor, contiguous, on the CPU.
    Tensor(Tensor),
    /// A dict or OrderedDict, in order; keys that are no text are written as text.
    Dict(Vec<(String, Value)>),
    /// A list, tuple or set.
    List(Vec<Value>),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A text.
    Text(String),
    /// A truth value.
    Bool(bool),
    /// None.
    None,
    /// Something that is not built, such as an object of a class: its name.
    Opaque(String),
}

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PthError {
    /// Another format.
    #[error("it is no file of torch.save since PyTorch 1.6 ({0}); load it there and save it again")]
    Format(String),
    /// The zip does not hold what it says.
    #[error("its zip is broken: {0}")]
    Archive(String),
    /// The pickle can't be understood.
    #[error("its pickle is broken at byte {at}: {reason}")]
    Pickle {
        /// Offset in `data.pkl`.
        at: usize,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that does not fit its storage, or that no kind of tensor here can hold.
    #[error("one of its tensors can't be built: {0}")]
    Tensor(String),
    /// More than a file of its size can honestly hold.
    #[error("it unfolds into more than it can hold: {0}")]
    Bomb(String),
    /// A value that is not written.
    #[error("{0} can't be written")]
    Write(String),
}

/// Reads a file.
///
/// # Errors
/// Bytes that are no such file, or that are damaged.
pub fn read(bytes: &[u8]) -> Result<Value, PthError> {
    let archive = Archive::open(bytes)?;
    let program = Program::run(archive.pickle())?;
    Builder::new(&program, &archive, bytes.len()).value(program.result())
}

#[cfg(test)]
mod tests;
