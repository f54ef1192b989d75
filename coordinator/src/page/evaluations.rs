//! What `tandem eval follow` has found so far, read from the run's output.

use proto::GlobalStep;
use serde_json::{Value, json};
use shards::store::{Folder, StoreError};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The folder below a run's output.
const FOLDER: &str = "evaluations";
/// How often the folder is looked at, however often it is asked for.
const LOOK: Duration = Duration::from_secs(5);

/// The evaluations that were read, by step.
pub(super) struct Evaluations {
    folder: Folder,
    looked: Option<Instant>,
    found: BTreeMap<u64, Value>,
}

impl Evaluations {
    pub(super) fn new(output: &Folder) -> Self {
        Self { folder: output.below(FOLDER), looked: None, found: BTreeMap::new() }
    }

    /// Reads what is new, if it is time; how many there are. Those of checkpoints after `newest` are of steps that the run has gone back
    /// from.
    pub(super) async fn catch_up(&mut self, newest: GlobalStep) -> Result<usize, StoreError> {
        self.found.retain(|step, _| *step <= newest.0);
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(self.found.len());
        }
        self.looked = Some(Instant::now());
        for name in self.folder.files().await? {
            let number = name.strip_prefix("step-").and_then(|name| name.strip_suffix(".json")?.parse().ok());
            let Some(step) = number.filter(|step| *step <= newest.0 && !self.found.contains_key(step)) else {
                continue;
            };
            let bytes = self.folder.get(&name).await?.unwrap_or_default();
            if let Ok(value) = serde_json::from_slice(&bytes) {
                self.found.insert(step, value);
            }
        }
        Ok(self.found.len())
    }

    /// The newest one, and how the others went; null where there is none. Recall is a share, from 0 to 1.
    pub(super) fn all(&self) -> Value {
        let Some((step, newest)) = self.found.last_key_value() else { return Value::Null };
        let history = self.found.iter().map(|(step, one)| {
            let best = |way| recall(one, way)["1"].clone();
            json!({
                "step": step,
                "text_to_image_r1": best("text_to_image"),
                "image_to_text_r1": best("image_to_text"),
            })
        });
        json!({
            "step": step,
            "rows": newest["pairs"],
            "recall": {
                "text_to_image": recall(newest, "text_to_image"),
                "image_to_text": recall(newest, "image_to_text"),
            },
            "history": history.collect::<Vec<_>>(),
            "grid": format!("api/evaluation/{step}/grid"),
        })
    }

    /// The picture of queries with their best answers.
    pub(super) async fn grid(&self, step: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.folder.get(&format!("step-{step:09}.png")).await?.map(Vec::from))
    }
}

/// One direction's recall: by the matching head where it was used, else by similarity.
fn recall(one: &Value, way: &str) -> Value {
    let scored = if one["itm"].is_object() { &one["itm"] } else { &one["itc"] };
    let share = |rank: &str| scored[way][rank].as_f64().map(|percent| percent / 100.0);
    json!({ "1": share("r1"), "5": share("r5"), "10": share("r10") })
}
