//! TensorBoard's event files: `Event` messages in TFRecord framing.
//!
//! Message numbers after TensorFlow's `core/util/event.proto` and `core/framework/summary.proto`; framing and the masked
//! CRC after `core/lib/io/record_writer.cc`: length (u64), masked CRC-32C of the length, data, masked CRC-32C of the data,
//! all little-endian.

use super::{Line, MetricsError, appender::Appender};
use proto::{Generation, GlobalStep};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// One event.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub(super) wall_time: f64,
    /// The global step.
    #[prost(int64, tag = "2")]
    pub(super) step: i64,
    /// Version of the format, in the first event of a file.
    #[prost(string, optional, tag = "3")]
    pub(super) file_version: Option<String>,
    /// Scalars.
    #[prost(message, optional, tag = "5")]
    pub(super) summary: Option<Summary>,
    /// Start of a session: events of its step and later ones, in older files, are void.
    #[prost(message, optional, tag = "7")]
    pub(super) session_log: Option<SessionLog>,
}

/// A list of values.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Summary {
    /// The values.
    #[prost(message, repeated, tag = "1")]
    pub(super) value: Vec<Value>,
}

/// One scalar.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Value {
    /// Its name.
    #[prost(string, tag = "1")]
    pub(super) tag: String,
    /// Its value.
    #[prost(float, tag = "2")]
    pub(super) simple_value: f32,
}

/// What happened to the session.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SessionLog {
    /// 1: it started.
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

const STARTED: i32 = 1;

/// Writes one event file, which is made when there is something to write.
pub(super) struct Writer {
    path: PathBuf,
    file: Option<Appender>,
    /// Records that come before the first scalars.
    head: Vec<u8>,
}

impl Writer {
    /// The event file of a generation, which goes on after the step `resume`.
    pub(super) fn new(folder: &Path, generation: Generation, resume: GlobalStep) -> Self {
        let now = Line::of(&proto::v1::StepReport::default(), generation, 0).time;
        // TensorBoard reads the files of a folder in the order of their names.
        let path =
            folder.join(format!("events.out.tfevents.{:010}.generation-{:06}", now as u64, generation.0));
        let version = Some("brain.Event:2".into());
        let version = Event { wall_time: now, file_version: version, ..Event::default() };
        let start = Event {
            wall_time: now,
            step: resume.next().0 as i64,
            session_log: Some(SessionLog { status: STARTED }),
            ..Event::default()
        };
        Self { path, file: None, head: [record(&version), record(&start)].concat() }
    }

    /// Writes the scalars of lines under `loss/`, `train/`, `speed/` and `data/`, all or none.
    pub(super) fn scalars(&mut self, lines: &[Line]) -> Result<(), MetricsError> {
        let records: Vec<u8> = lines.iter().flat_map(|line| record(&event(line))).collect();
        if records.is_empty() {
            return Ok(());
        }
        if let Some(file) = &mut self.file {
            return file.append(&records);
        }
        let folder = self.path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder).map_err(MetricsError::at(folder))?;
        let mut file = Appender::open(&self.path)?;
        file.append(&[self.head.as_slice(), &records].concat())?;
        self.file = Some(file);
        Ok(())
    }
}

/// The scalars of a line.
fn event(line: &Line) -> Event {
    let named = line.scalars.iter().map(|(name, value)| {
        let group = if name.starts_with("loss") { "loss" } else { "train" };
        (format!("{group}/{name}"), *value)
    });
    let ours = [
        ("speed/pairs_per_second".to_string(), line.pairs_per_second),
        ("speed/data_wait_share".into(), line.data_wait()),
        ("data/substitutions".into(), line.substitutions as f64),
    ];
    let value = named.chain(ours).map(|(tag, value)| Value { tag, simple_value: value as f32 }).collect();
    let (wall_time, step) = (line.time, line.step as i64);
    Event { wall_time, step, summary: Some(Summary { value }), ..Event::default() }
}

fn record(event: &Event) -> Vec<u8> {
    frame(&prost::Message::encode_to_vec(event))
}

fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length, masked(&length).to_le_bytes().as_slice(), data, &masked(data).to_le_bytes()].concat()
}

/// TFRecord's CRC-32C: rotated and shifted, so that a CRC of data that holds CRCs is not weak.
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use proto::v1;

    /// Reads TFRecords as TensorFlow does, checking both CRCs.
    fn records(mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_at(8);
            let (crc, rest) = rest.split_at(4);
            assert_eq!(u32::from_le_bytes(crc.try_into().unwrap()), masked(length));
            let (data, rest) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let (crc, rest) = rest.split_at(4);
            assert_eq!(u32::from_le_bytes(crc.try_into().unwrap()), masked(data));
            events.push(Event::decode(data).unwrap());
            bytes = rest;
        }
        events
    }

    #[test]
    fn the_bytes_are_tensorflows() {
        // The first record that TensorBoard's own writer makes, at wall time 0.
        let event = Event { file_version: Some("brain.Event:2".into()), ..Event::default() };
        let encoded = event.encode_to_vec();
        assert_eq!(encoded, b"\x1a\x0dbrain.Event:2");
        assert_eq!(masked(b""), 0xa282_ead8);
        // CRC-32C of 32 zero bytes is 0x8a9136aa (RFC 3720, B.4).
        assert_eq!(masked(&[0; 32]), 0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(folder.path(), Generation(2), GlobalStep(40));
        let scalars = [("loss_itc".to_string(), 0.5)].into();
        let report = v1::StepReport { step: 50, seconds: 2.0, data_wait_seconds: 0.5, pairs: 8, scalars };
        writer.scalars(&[]).unwrap();
        assert!(!writer.path.exists(), "there is nothing to write yet");
        writer.scalars(&[Line::of(&report, Generation(2), 0)]).unwrap();
        let events = records(&fs::read(&writer.path).unwrap());
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!((events[1].step, events[1].session_log.as_ref().unwrap().status), (41, STARTED));
        let summary = events[2].summary.as_ref().unwrap();
        let found: Vec<_> = summary.value.iter().map(|v| (v.tag.as_str(), v.simple_value)).collect();
        let expected =
            [("loss/loss_itc", 0.5), ("speed/pairs_per_second", 4.0), ("speed/data_wait_share", 0.25)];
        assert_eq!((&found[..3], events[2].step), (&expected[..], 50));
    }
}
