//! The way out: values to a zip as `torch.save` writes it, the same bytes for the same values.

use super::tensors::{BOOLS, STORAGES};
use super::{PthError, Value};
use std::io::{Cursor, Write};
use tch::{Device, Kind, Tensor};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Where a storage begins in the file, in bytes, is a multiple of this, as torch has it.
const ALIGNMENT: u16 = 64;

/// Writes a file.
///
/// # Errors
/// Something opaque, a kind of tensor that no storage has, more than a zip can hold.
pub fn write(value: &Value) -> Result<Vec<u8>, PthError> {
    let mut pickler = Pickler { code: vec![0x80, 2], tensors: Vec::new() };
    pickler.value(value)?;
    pickler.code.push(b'.');
    let failed = |e: &dyn std::fmt::Display| PthError::Write(format!("the zip: {e}"));
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut entry = |name: &str, bytes: &[u8]| {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::default())
            .large_file(bytes.len() > u32::MAX as usize)
            .with_alignment(ALIGNMENT);
        zip.start_file(format!("archive/{name}"), options).map_err(|e| failed(&e))?;
        zip.write_all(bytes).map_err(|e| failed(&e))
    };
    entry("data.pkl", &pickler.code)?;
    entry("byteorder", b"little")?;
    for (number, tensor) in pickler.tensors.iter().enumerate() {
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel()).map_err(|e| failed(&e))?;
        entry(&format!("data/{number}"), &bytes)?;
    }
    entry("version", b"3\n")?;
    zip.finish().map(Cursor::into_inner).map_err(|e| failed(&e))
}

/// Writes protocol 2 of pickle.
struct Pickler {
    code: Vec<u8>,
    /// Each is a storage of its own.
    tensors: Vec<Tensor>,
}

impl Pickler {
    fn value(&mut self, value: &Value) -> Result<(), PthError> {
        match value {
            Value::None => self.code.push(b'N'),
            Value::Bool(value) => self.code.push(if *value { 0x88 } else { 0x89 }),
            Value::Int(value) => self.int(*value),
            Value::Float(value) => {
                self.code.push(b'G');
                self.code.extend(value.to_be_bytes());
            }
            Value::Text(text) => self.text(text),
            Value::List(items) => {
                self.code.extend(b"](");
                items.iter().try_for_each(|item| self.value(item))?;
                self.code.push(b'e');
            }
            Value::Dict(entries) => {
                self.code.extend(b"}(");
                for (key, value) in entries {
                    self.text(key);
                    self.value(value)?;
                }
                self.code.push(b'u');
            }
            Value::Tensor(tensor) => self.tensor(tensor)?,
            Value::Opaque(name) => return Err(PthError::Write(name.clone())),
        }
        Ok(())
    }

    fn int(&mut self, value: i64) {
        match i32::try_from(value) {
            Ok(small) => {
                self.code.push(b'J');
                self.code.extend(small.to_le_bytes());
            }
            Err(_) => {
                self.code.extend([0x8a, 8]);
                self.code.extend(value.to_le_bytes());
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.code.push(b'X');
        self.code.extend((text.len() as u32).to_le_bytes());
        self.code.extend(text.as_bytes());
    }

    fn global(&mut self, module: &str, name: &str) {
        self.code.push(b'c');
        self.code.extend(format!("{module}\n{name}\n").bytes());
    }

    fn ints(&mut self, numbers: &[i64]) {
        self.code.push(b'(');
        numbers.iter().for_each(|number| self.int(*number));
        self.code.push(b't');
    }

    /// `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)`.
    fn tensor(&mut self, tensor: &Tensor) -> Result<(), PthError> {
        let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
        let class = match tensor.kind() {
            Kind::Bool => BOOLS,
            kind => STORAGES
                .iter()
                .find(|(_, known)| *known == kind)
                .map(|(name, _)| *name)
                .ok_or_else(|| PthError::Write(format!("a tensor of {kind:?}")))?,
        };
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.code.extend(b"((");
        self.text("storage");
        self.global("torch", class);
        self.text(&self.tensors.len().to_string());
        self.text("cpu");
        self.int(tensor.numel() as i64);
        self.code.extend(b"tQ");
        self.int(0);
        self.ints(&tensor.size());
        self.ints(&tensor.stride());
        self.code.push(0x89);
        self.global("collections", "OrderedDict");
        self.code.extend(b")RtR");
        self.tensors.push(tensor);
        Ok(())
    }
}
