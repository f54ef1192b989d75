//! Real runs for the tests: a small dataset, a small model, and the programs as a user starts them.

use crate::program;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// How long a test waits for something that has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// How often it looks.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// A folder with a dataset, its vocabulary and the outputs of runs.
pub struct Place {
    folder: tempfile::TempDir,
    vocabulary: usize,
}

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Told {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Runs `tandem` to its end.
pub fn tandem(arguments: &[&str]) -> Told {
    Command::new(program("tandem"))
        .args(arguments)
        .output()
        .map_or_else(|error| Told { code: None, out: String::new(), err: error.to_string() }, Told::from)
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// A dataset of 96 pairs and its vocabulary.
    ///
    /// # Panics
    /// When that does not work: nothing else would.
    pub fn new() -> Self {
        Self::drawn(96)
    }

    /// Draws a dataset of so many pairs and trains its vocabulary.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn drawn(pairs: u32) -> Self {
        let Ok(folder) = tempfile::tempdir() else { panic!("no temporary folder") };
        let place = Self { folder, vocabulary: 0 };
        let (data, words, pairs) = (place.path("data"), place.path("vocab.txt"), pairs.to_string());
        let synth =
            ["data", "synth", "--pairs", &pairs, "--size", "32", "--group-rows", "12", "--out", &data];
        let made = tandem(&synth);
        assert_eq!(made.code, Some(0), "{made:?}");
        let trained = tandem(&["data", "tokenizer", &data, "--size", "150", "--out", &words]);
        assert_eq!(trained.code, Some(0), "{trained:?}");
        let vocabulary = fs::read_to_string(&words).unwrap_or_default().lines().count();
        Self { vocabulary, ..place }
    }

    /// Whether the folder stays when this goes.
    pub fn keep(&mut self, keep: bool) {
        self.folder.disable_cleanup(keep);
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Entries of the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The arguments of a run of a tiny model with its output in `output`; `sets` win.
    pub fn arguments(&self, output: &str, sets: &[&str]) -> Vec<String> {
        let given = [
            format!("data.train={}", self.path("data")),
            format!("text.tokenizer={}", self.path("vocab.txt")),
            format!("run.output={}", self.path(output)),
            format!("model.vocabulary={}", self.vocabulary),
        ];
        let fixed = [
            "data.lanes=4",
            "data.window=2",
            "text.max_tokens=16",
            "model.preset=albef-tiny",
            "model.image_size=16",
            "model.vision_width=32",
            "model.vision_hidden=128",
            "model.text_width=32",
            "model.text_hidden=64",
            "model.embed_width=16",
            "model.vision_depth=2",
            "model.text_depth=1",
            "model.dropout=0.1",
            "objective.queue=40",
            "objective.alpha_ramp=4",
            "optimizer.batch=16",
            "optimizer.steps=12",
            "optimizer.warmup=2",
            "optimizer.learning_rate=1e-3",
            "checkpoint.every=4",
            "metrics.every=1",
            "cluster.heartbeat_ms=50",
            "cluster.compare_every=3",
            "run.workers=2",
        ];
        let sets = given.iter().map(String::as_str).chain(fixed).chain(sets.iter().copied());
        sets.flat_map(|set| ["--set".to_owned(), set.to_owned()]).collect()
    }

    /// `tandem run` to its end.
    pub fn run(&self, output: &str, sets: &[&str], more: &[&str]) -> Told {
        let arguments = self.arguments(output, sets);
        let all: Vec<&str> = ["run"]
            .into_iter()
            .chain(more.iter().copied())
            .chain(arguments.iter().map(String::as_str))
            .collect();
        tandem(&all)
    }

    /// `tandem run`, going on while the test does.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn start(&self, output: &str, sets: &[&str]) -> Running {
        let mut command = Command::new(program("tandem"));
        command.arg("run").args(self.arguments(output, sets));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let Ok(child) = child else { panic!("tandem can't be started") };
        Running { child, folder: PathBuf::from(self.path(output)) }
    }

    /// `tandem coordinator`, going on while the test does, and the URL at which its workers have to join.
    ///
    /// # Panics
    /// When it can't be started, or does not say where it is.
    pub fn serve(&self, output: &str, sets: &[&str]) -> (Running, String) {
        self.serve_more(output, sets, &[])
    }

    /// [`serve`](Self::serve), with more arguments.
    ///
    /// # Panics
    /// As there.
    pub fn serve_more(&self, output: &str, sets: &[&str], more: &[&str]) -> (Running, String) {
        let before = fs::read_to_string(self.path(&format!("{output}/coordinator.url"))).unwrap_or_default();
        let mut command = Command::new(program("tandem"));
        command.arg("coordinator").args(more).args(self.arguments(output, sets));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let Ok(child) = child else { panic!("tandem can't be started") };
        let mut running = Running { child, folder: PathBuf::from(self.path(output)) };
        let file = running.folder.join("coordinator.url");
        let url = || fs::read_to_string(&file).unwrap_or_default().trim().to_owned();
        running.until("its URL", || !url().is_empty() && url() != before.trim());
        (running, url())
    }

    /// Where the manifest of a run's checkpoint lies, as its marker names it; none where nothing is committed.
    pub fn manifest(&self, output: &str, step: u64) -> Option<PathBuf> {
        let folder = PathBuf::from(format!("{}/checkpoints/step-{step:09}", self.path(output)));
        let marker = fs::read_to_string(folder.join("COMMITTED")).ok()?;
        Some(folder.join(marker.split(' ').nth(1)?))
    }

    /// SHA-256 of the parts of a run's checkpoint, as its manifest has them.
    pub fn digests(&self, output: &str, step: u64) -> Vec<String> {
        self.parts(output, step, "sha256")
    }

    /// Names of the parts of a run's checkpoint.
    pub fn part_names(&self, output: &str, step: u64) -> Vec<String> {
        self.parts(output, step, "name")
    }

    fn parts(&self, output: &str, step: u64, field: &str) -> Vec<String> {
        let text = self.manifest(output, step).and_then(|path| fs::read_to_string(path).ok());
        let manifest: serde_json::Value = serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default();
        let parts = manifest["parts"].as_array().cloned().unwrap_or_default();
        parts.iter().map(|part| part[field].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The losses that a run reported, step by step.
    ///
    /// # Panics
    /// When a step is missing or there twice.
    pub fn losses(&self, output: &str) -> Vec<f64> {
        let lines = self.metrics(output);
        let steps: Vec<Option<u64>> = lines.iter().map(|line| line["step"].as_u64()).collect();
        let due: Vec<Option<u64>> = (1..=steps.len() as u64).map(Some).collect();
        assert_eq!(steps, due, "no step is missing or there twice");
        lines.iter().map(|line| line["loss"].as_f64().unwrap_or(f64::NAN)).collect()
    }

    /// The lines of a run's `metrics.jsonl`.
    pub fn metrics(&self, output: &str) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(format!("{}/metrics.jsonl", self.path(output))).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// A run that is going on. Dropping it kills it with its workers.
pub struct Running {
    child: Child,
    folder: PathBuf,
}

impl Running {
    /// Waits until a step's checkpoint is committed.
    ///
    /// # Panics
    /// When it does not come.
    pub fn committed(&mut self, step: u64) {
        let marker = self.folder.join(format!("checkpoints/step-{step:09}/COMMITTED"));
        self.until("a committed checkpoint", || marker.exists());
    }

    /// Waits until `there`.
    ///
    /// # Panics
    /// When the run ends before, or it does not come.
    pub fn until(&mut self, what: &str, there: impl Fn() -> bool) {
        let start = Instant::now();
        while !there() {
            let ended = self.child.try_wait().ok().flatten();
            assert!(ended.is_none(), "the run ended before {what} was there: {ended:?}");
            assert!(start.elapsed() < PATIENCE, "{what} did not come in {PATIENCE:?}");
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until `count` workers train and have done more steps.
    ///
    /// # Panics
    /// When the run ends before, or it does not come.
    pub fn trains_on(&mut self, count: usize) {
        let folder = self.folder.display().to_string();
        let status = || -> serde_json::Value {
            serde_json::from_str(&tandem(&["status", "--json", "--run", &folder]).out).unwrap_or_default()
        };
        let ready = || {
            let now = status();
            let seats = now["members"].as_array().into_iter().flatten().filter(|m| m["rank"].is_u64());
            let here: Vec<bool> = seats.map(|seat| seat["pid"].as_u64().is_some_and(alive)).collect();
            now["state"] == "training" && here == vec![true; count]
        };
        self.until(&format!("a generation of {count}"), ready);
        let step = || status()["step"].as_u64().unwrap_or_default();
        let before = step();
        self.until("more steps", || step() > before + 2);
    }

    /// `tandem status --json`.
    pub fn status(&self) -> serde_json::Value {
        let told = tandem(&["status", "--json", "--run", &self.folder.display().to_string()]);
        serde_json::from_str(&told.out).unwrap_or_default()
    }

    /// The processes of the workers, by rank; empty before the coordinator answers.
    pub fn workers(&self) -> Vec<u64> {
        let members = self.status()["members"].as_array().cloned().unwrap_or_default();
        members.iter().filter_map(|member| member["pid"].as_u64()).collect()
    }

    /// The process of `tandem run`.
    pub fn pid(&self) -> u64 {
        self.child.id().into()
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not come.
    pub fn end(mut self) -> Told {
        let start = Instant::now();
        while self.child.try_wait().ok().flatten().is_none() {
            assert!(start.elapsed() < PATIENCE, "the run does not end");
            std::thread::sleep(LOOK);
        }
        let (mut out, mut err) = (String::new(), String::new());
        let read = |from: Option<&mut dyn std::io::Read>, into: &mut String| {
            from.map(|from| from.read_to_string(into))
        };
        let _ = read(self.child.stdout.as_mut().map(|pipe| pipe as &mut dyn std::io::Read), &mut out);
        let _ = read(self.child.stderr.as_mut().map(|pipe| pipe as &mut dyn std::io::Read), &mut err);
        let code = self.child.wait().ok().and_then(|status| status.code());
        Told { code, out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal, by its name.
pub fn signal(name: &str, pids: &[u64]) {
    let pids = pids.iter().map(ToString::to_string);
    let _ = Command::new("kill").arg(format!("-{name}")).args(pids).status();
}

/// Whether a process is there, and no zombie.
pub fn alive(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z') && !rest.is_empty())
}
