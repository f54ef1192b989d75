//! Files of torch.save, files of our own, and files that want to do harm.

use super::*;
use proptest::prelude::*;
use std::fs;
use std::io::{Cursor, Write};
use tch::{Device, Kind};
use zip::write::SimpleFileOptions;

const KINDS: [Kind; 10] = [
    Kind::Float,
    Kind::Double,
    Kind::Half,
    Kind::BFloat16,
    Kind::Int64,
    Kind::Int,
    Kind::Int16,
    Kind::Int8,
    Kind::Uint8,
    Kind::Bool,
];

fn golden(name: &str) -> Vec<u8> {
    fs::read(e2e::root().join("tests/golden/pth").join(name)).unwrap()
}

/// The entry of that name, of a dict.
fn entry<'a>(value: &'a Value, name: &str) -> &'a Value {
    let Value::Dict(entries) = value else { panic!("no dict: {value:?}") };
    entries.iter().find(|(key, _)| key == name).map(|(_, value)| value).unwrap()
}

fn tensor<'a>(value: &'a Value, name: &str) -> &'a Tensor {
    let Value::Tensor(tensor) = entry(value, name) else { panic!("{name} is no tensor") };
    tensor
}

fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Tensor(one), Value::Tensor(other)) => {
            one.kind() == other.kind() && one.size() == other.size() && one.equal(other)
        }
        (Value::Dict(one), Value::Dict(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|((k, v), (l, w))| k == l && same(v, w))
        }
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(v, w)| same(v, w))
        }
        (one, other) => format!("{one:?}") == format!("{other:?}"),
    }
}

/// A file of that pickle and one storage of 8 bytes.
fn file(pickle: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("a/data.pkl", pickle), ("a/data/0", &[1; 8][..])] {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn pickle_of(file: &[u8]) -> Vec<u8> {
    Archive::open(file).unwrap().pickle().to_vec()
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = (0usize..14, any::<i64>(), any::<u32>(), prop::collection::vec(0i64..4, 0..4));
    prop::collection::vec(leaf, 0..12).prop_map(|leaves| {
        let value = |(sort, number, bits, shape): (usize, i64, u32, Vec<i64>)| match sort {
            0 => Value::None,
            1 => Value::Bool(number > 0),
            2 => Value::Int(number),
            3 => Value::List(vec![Value::Float(f64::from(bits)), Value::Text(format!("ä{number}"))]),
            sort => {
                let kind = KINDS[sort - 4];
                let drawn = Tensor::randint_low(-3, 3, shape, (Kind::Int64, Device::Cpu)).to_kind(kind);
                Value::Tensor(drawn)
            }
        };
        let entries = leaves.into_iter().map(value).enumerate().map(|(i, value)| (format!("k{i}"), value));
        Value::Dict(vec![("inside".into(), Value::Dict(entries.collect()))])
    })
}

/// Bytes of texts and tensors in a value.
fn bytes_in(value: &Value) -> usize {
    match value {
        Value::Tensor(tensor) => tensor.numel() * tensor.kind().elt_size_in_bytes(),
        Value::Dict(entries) => entries.iter().map(|(key, value)| key.len() + bytes_in(value)).sum(),
        Value::List(items) => items.iter().map(bytes_in).sum(),
        Value::Text(text) | Value::Opaque(text) => text.len(),
        _ => 0,
    }
}

/// What becomes of that pickle, which is never more than a file may unfold into.
fn bounded(pickle: &[u8]) -> Result<Value, PthError> {
    let file = file(pickle);
    let value = read(&file);
    // Names such as "a storage" are not copied from the file.
    let own = pickle.len() * "a big integer".len();
    let bytes = value.as_ref().map_or(0, bytes_in);
    assert!(bytes <= tensors::COPIES * file.len() + own, "{bytes} bytes of {pickle:?}");
    value
}

proptest! {
    #[test]
    fn what_is_written_reads_back(value in values()) {
        let bytes = write(&value).unwrap();
        prop_assert!(same(&read(&bytes).unwrap(), &value));
        prop_assert_eq!(write(&value).unwrap(), bytes);
    }

    #[test]
    fn any_pickle_ends_in_a_value_or_an_error(code in prop::collection::vec(prop::sample::select(
        b"N(.0123lt)]}abesduQRqhJKMXcU\x80\x81\x85\x86\x87\x88\x8a\x8c\x8d\x8f\x90\x92\x93\x94\x95\x01\x00\n".to_vec()), 0..60)) {
        let _ = bounded(&code);
    }
}

#[test]
fn a_checkpoint_of_torch_is_read() {
    let all = read(&golden("checkpoint.pth")).unwrap();
    let model = entry(&all, "model");
    let base = Tensor::arange(24, (Kind::Float, Device::Cpu));
    let expected = [
        ("f32", base.view([4, 6])),
        ("transposed", base.view([4, 6]).tr()),
        ("shared", base.narrow(0, 6, 8).view([2, 4])),
        ("scalar", Tensor::from(2.5f32)),
        ("empty", Tensor::zeros([0, 3], (Kind::Float, Device::Cpu))),
        ("f64", Tensor::arange(3, (Kind::Double, Device::Cpu)) / 3),
        ("f16", (Tensor::arange(3, (Kind::Float, Device::Cpu)) / 2).to_kind(Kind::Half)),
        ("bf16", (Tensor::arange(3, (Kind::Float, Device::Cpu)) / 2).to_kind(Kind::BFloat16)),
        ("i64", Tensor::from_slice(&[-1i64, 0, 1])),
        ("i32", Tensor::from_slice(&[0i32, 1, 2])),
        ("i16", Tensor::from_slice(&[0i16, 1, 2])),
        ("i8", Tensor::from_slice(&[-1i8, 0, 1])),
        ("u8", Tensor::from_slice(&[0u8, 1, 2])),
        ("bool", Tensor::from_slice(&[true, false])),
        ("parameter", Tensor::ones([2], (Kind::Float, Device::Cpu))),
        ("expanded", Tensor::arange(5, (Kind::Int64, Device::Cpu)).view([1, 5])),
    ];
    for (name, expected) in expected {
        let found = tensor(model, name);
        assert_eq!((found.kind(), found.size()), (expected.kind(), expected.size()), "{name}");
        assert!(found.equal(&expected) && found.is_contiguous(), "{name}");
    }
    assert!(matches!(entry(&all, "config"), Value::Opaque(name) if name == "argparse Namespace"));
    assert!(matches!(
        (entry(&all, "epoch"), entry(&all, "big")),
        (Value::Int(3), Value::Int(1_099_511_627_776))
    ));
    let state = entry(entry(entry(&all, "optimizer"), "state"), "0");
    assert_eq!(tensor(state, "exp_avg").size(), [2, 2]);
}

#[test]
fn a_call_is_noted_and_never_made() {
    let folder = tempfile::tempdir().unwrap();
    let proof = folder.path().join("ran");
    let command = format!("touch {}", proof.display());
    let mut code = b"\x80\x02cposix\nsystem\nX".to_vec();
    code.extend((command.len() as u32).to_le_bytes());
    code.extend(command.bytes());
    code.extend(b"\x85R.");
    assert!(matches!(read(&file(&code)).unwrap(), Value::Opaque(name) if name == "posix system"));
    assert!(!proof.exists());
}

#[test]
fn other_formats_are_named() {
    let told = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    assert!(told(&golden("legacy.pth")).contains("a bare pickle"), "{}", told(&golden("legacy.pth")));
    assert!(told(b"GGUF").contains("it is no zip"), "{}", told(b"GGUF"));
}

/// A file with two numbers, and what it holds.
fn two_numbers() -> (Vec<u8>, Value) {
    let value = Value::Dict(vec![("x".into(), Value::Tensor(Tensor::from_slice(&[1.0f32, 2.0])))]);
    (write(&value).unwrap(), value)
}

#[test]
fn damaged_files_are_errors() {
    let (whole, value) = two_numbers();
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "{length} bytes of {}", whole.len());
    }
    let numbers: Vec<u8> = [1.0f32, 2.0].iter().flat_map(|number| number.to_le_bytes()).collect();
    let storage = whole.windows(8).position(|bytes| bytes == numbers).unwrap();
    for (at, bit) in (0..whole.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << bit;
        match read(&flipped) {
            // What a zip says of itself besides names, sizes and checksums does not matter.
            Ok(found) => assert!(same(&found, &value), "bit {bit} of byte {at} goes unnoticed"),
            Err(error) if (storage..storage + 8).contains(&at) => {
                assert!(matches!(error, PthError::Archive(_)), "{error}");
            }
            Err(_) => {}
        }
    }
}

#[test]
fn a_pickle_with_a_flipped_bit_and_a_right_checksum_stays_in_bounds() {
    let pickle = pickle_of(&two_numbers().0);
    let mut read = 0;
    for (at, bit) in (0..pickle.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut flipped = pickle.clone();
        flipped[at] ^= 1 << bit;
        read += usize::from(bounded(&flipped).is_ok());
    }
    assert!((1..pickle.len() * 8).contains(&read), "{read} of {} are read", pickle.len() * 8);
}

/// A tensor of f32 over the storage of 8 bytes, with this offset, shape and stride.
fn view(offset: u8, shape: u32, stride: u32) -> Result<Value, PthError> {
    let mut code = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nU\x010U\x03cpuK\x02tQK".to_vec();
    code.extend([offset, b'J']);
    code.extend(shape.to_le_bytes());
    code.extend(b"\x85J");
    code.extend(stride.to_le_bytes());
    code.extend(b"\x85\x89NtR.");
    read(&file(&code))
}

#[test]
fn a_tensor_beyond_its_storage_is_refused() {
    assert!(matches!(view(0, 2, 1), Ok(Value::Tensor(_))));
    for (offset, shape, stride) in [
        (1, 2, 1),
        (0, 3, 1),
        (0, 2, 2),
        (0, 0x7fff_ffff, 0),
        (0, 0x7fff_ffff, 0x7fff_ffff),
        (0, u32::MAX, 1),
    ] {
        let error = view(offset, shape, stride).unwrap_err();
        assert!(matches!(error, PthError::Tensor(_)), "{error}");
    }
}

/// Lists of ten times the list before: 10^60 values from few bytes.
#[test]
fn a_bomb_is_refused() {
    let mut code = b"\x80\x02](K\x01e".to_vec();
    for level in 0..60u8 {
        code.extend([b'q', level, b'0', b']', b'(']);
        code.extend([b'h', level].repeat(10));
        code.push(b'e');
    }
    code.push(b'.');
    assert!(matches!(read(&file(&code)).unwrap_err(), PthError::Bomb(_)));
}

/// A list of `times` times what `node` pushes.
fn shared(node: &[u8], times: usize) -> Vec<u8> {
    [b"\x80\x02", node, b"q\x000](", &b"h\x00".repeat(times), b"e."].concat()
}

fn long_text() -> Vec<u8> {
    let mut code = b"X".to_vec();
    code.extend(10_000u32.to_le_bytes());
    code.extend([b'x'; 10_000]);
    code
}

#[test]
fn texts_that_are_shared_too_often_are_refused() {
    let global = [b"c", &[b'm'; 5_000][..], b"\n", &[b'n'; 5_000], b"\n"].concat();
    let call = [&global[..], b")R"].concat();
    for node in [&long_text(), &global, &call] {
        assert!(matches!(bounded(&shared(node, 7)), Ok(Value::List(all)) if all.len() == 7));
        let error = bounded(&shared(node, 40)).unwrap_err();
        assert!(matches!(error, PthError::Bomb(_)), "{error}");
    }
    // A dict of one key again and again.
    let keys = |times| [b"\x80\x02", &long_text()[..], b"q\x000}(", &b"h\x00N".repeat(times), b"u."].concat();
    assert!(matches!(bounded(&keys(7)), Ok(Value::Dict(all)) if all.len() == 7));
    assert!(matches!(bounded(&keys(40)).unwrap_err(), PthError::Bomb(_)));
    // Globals that are put together of one text again and again.
    let joined = |times| {
        [b"\x80\x04", &long_text()[..], b"q\x000](", &b"h\x00h\x00\x93".repeat(times), b"e."].concat()
    };
    let error = bounded(&joined(40)).unwrap_err();
    assert!(error.to_string().contains("the names of its globals"), "{error}");
}

#[test]
fn keys_that_are_no_texts_are_named_and_never_printed_whole() {
    let code = b"\x80\x02}(K\x01N\x88N](K\x02K\x03K\x04eNcm\nn\nNNNu.";
    let Value::Dict(entries) = bounded(code).unwrap() else { panic!("no dict") };
    let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["1", "true", "an object", "m n", "None"]);
}
