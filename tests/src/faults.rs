//! An object store that fails where a test wants it: before an operation, after it, in its middle, for a while, or for good as for a
//! process that is killed. What it does is decided by a script that sees every operation, so each point can be tried in turn.

use async_trait::async_trait;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};
use std::{
    fmt, io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What happens to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and fails.
    Refused,
    /// It is done, and fails: the answer is lost.
    Unanswered,
    /// A write ends in its middle: no store shows such an object, a disk keeps what was written under another name. Fails.
    Torn,
    /// It is not done, since the disk is full.
    Full,
    /// It is done after a while.
    Late(Duration),
    /// The process is dead: nothing is done, and nothing tidied up.
    Dead,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Counted from 1.
    pub number: usize,
    /// `put`, `create`, `part`, `complete`, `abort`, `get`, `delete` or `list`.
    pub verb: &'static str,
    /// On which object or folder.
    pub path: String,
}

/// Says what happens to an operation; none: it is done.
pub type Script = Box<dyn FnMut(&Operation) -> Option<Fault> + Send>;

/// Nothing fails.
pub fn healthy() -> Script {
    Box::new(|_| None)
}

/// The operation with this number meets `fault`, and there the process dies.
pub fn dies_at(number: usize, fault: Fault) -> Script {
    Box::new(move |now| match now.number {
        at if at == number => Some(fault),
        at => (at > number).then_some(Fault::Dead),
    })
}

/// Operations with these numbers meet `fault`.
pub fn during(numbers: Range<usize>, fault: Fault) -> Script {
    Box::new(move |now| numbers.contains(&now.number).then_some(fault))
}

/// One operation of so many meets one of `faults`; which, is a function of the seed and the operation's number.
pub fn now_and_then(seed: u64, of: u64, faults: Vec<Fault>) -> Script {
    Box::new(move |now| {
        // SplitMix64: far from each other for neighbouring seeds and numbers.
        let mut mixed = (seed << 32 ^ now.number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        mixed.is_multiple_of(of).then(|| faults[(mixed / of) as usize % faults.len()])
    })
}

/// The store.
#[derive(Clone)]
pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    state: Arc<Mutex<State>>,
}

struct State {
    script: Script,
    done: Vec<Operation>,
    dead: bool,
}

impl Faulty {
    /// `inner`, as the script lets it be.
    pub fn new(inner: Arc<dyn ObjectStore>, script: Script) -> Self {
        Self { inner, state: Arc::new(Mutex::new(State { script, done: Vec::new(), dead: false })) }
    }

    /// What was asked for so far, whether it was done or not.
    pub fn operations(&self) -> Vec<Operation> {
        self.lock().done.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meet(&self, verb: &'static str, path: &Path) -> Option<Fault> {
        let mut state = self.lock();
        let operation = Operation { number: state.done.len() + 1, verb, path: path.to_string() };
        let fault = (state.script)(&operation);
        state.dead |= fault == Some(Fault::Dead);
        state.done.push(operation);
        fault
    }

    /// Does `work` as the script says.
    async fn act<T>(
        &self,
        verb: &'static str,
        path: &Path,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        done(self.meet(verb, path), work).await
    }
}

async fn done<T>(fault: Option<Fault>, work: impl Future<Output = Result<T>>) -> Result<T> {
    match fault {
        None => work.await,
        Some(Fault::Late(after)) => {
            tokio::time::sleep(after).await;
            work.await
        }
        Some(Fault::Unanswered) => {
            let _ = work.await;
            Err(failure(Fault::Unanswered))
        }
        Some(fault) => Err(failure(fault)),
    }
}

fn failure(fault: Fault) -> Error {
    let source = match fault {
        Fault::Full => io::Error::from(io::ErrorKind::StorageFull),
        other => io::Error::other(format!("{other:?}, as the test wants it")),
    };
    Error::Generic { store: "faulty", source: source.into() }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({:?})", self.inner)
    }
}

/// As the store within: it is treated alike.
impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fault = self.meet("put", at);
        if fault == Some(Fault::Torn) {
            let mut upload = self.inner.put_multipart(at).await?;
            let bytes: Vec<u8> = payload.iter().flat_map(|part| part.to_vec()).collect();
            upload.put_part(bytes[..bytes.len() / 2].to_vec().into()).await?;
            // As a process leaves it that is killed here.
            std::mem::forget(upload);
        }
        done(fault, self.inner.put_opts(at, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.act("create", at, self.inner.put_multipart_opts(at, options)).await?;
        Ok(Box::new(Upload { store: self.clone(), at: at.clone(), inner: Some(upload) }))
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.act("get", at, self.inner.get_opts(at, options)).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.act("get", at, self.inner.get_ranges(at, ranges)).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |path: Result<Path>| {
            let store = store.clone();
            async move {
                let path = path?;
                store.act("delete", &path, store.inner.delete(&path)).await.map(|()| path)
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.meet("list", &prefix.cloned().unwrap_or_default()) {
            None | Some(Fault::Late(_)) => self.inner.list(prefix),
            Some(fault) => stream::once(async move { Err(failure(fault)) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        self.act("list", &path, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.act("put", to, self.inner.copy_opts(from, to, options)).await
    }
}

/// A file that is written in parts.
struct Upload {
    store: Faulty,
    at: Path,
    inner: Option<Box<dyn MultipartUpload>>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({})", self.at)
    }
}

impl Upload {
    fn inner(&mut self) -> Result<&mut Box<dyn MultipartUpload>> {
        self.inner.as_mut().ok_or_else(|| failure(Fault::Dead))
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let fault = self.store.meet("part", &self.at);
        match (fault, self.inner()) {
            (None | Some(Fault::Late(_) | Fault::Unanswered), Ok(inner)) => {
                let part = inner.put_part(data);
                Box::pin(done(fault, part))
            }
            (fault, _) => Box::pin(async move { Err(failure(fault.unwrap_or(Fault::Dead))) }),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let fault = self.store.meet("complete", &self.at);
        done(fault, self.inner()?.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        let fault = self.store.meet("abort", &self.at);
        done(fault, self.inner()?.abort()).await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.store.lock().dead {
            std::mem::forget(self.inner.take());
        }
    }
}
