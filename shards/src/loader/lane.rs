//! One lane: its walk, the windows that its streams are in, and the next ones on their way.

use crate::{
    error::{Error, Result},
    order::{Order, Piece, Slot, Stream, Walk},
    reader::{Reader, Row, Rows},
};
use proto::{GlobalStep, LaneId, RowGroupId};
use std::{collections::HashMap, sync::Arc};
use tokio::{
    runtime::{Handle, Runtime},
    task::JoinHandle,
};

/// Epoch and number of a window of a stream.
type Key = (u64, u64);

/// The fetched rows of a window.
pub(super) struct Window {
    groups: HashMap<RowGroupId, Rows>,
}

impl Window {
    /// The row of a slot in this window.
    pub(super) fn row(&self, slot: &Slot) -> Option<Row<'_>> {
        self.groups.get(&slot.row_group)?.get(slot.row_in_group)
    }
}

pub(super) struct Lane<'a> {
    walk: Walk<'a>,
    /// By pool.
    fetches: Vec<Fetch<'a>>,
}

/// The windows of one stream.
struct Fetch<'a> {
    /// Stands in the window that `next` fetches.
    ahead: Stream<'a>,
    now: Option<(Key, Arc<Window>)>,
    next: JoinHandle<Result<Window>>,
}

impl<'a> Lane<'a> {
    /// Begins to fetch the windows of the lane's first slots in `step`.
    pub(super) fn start(
        order: &'a Order,
        lane: LaneId,
        step: GlobalStep,
        reader: &Arc<Reader>,
        fetch: &Handle,
    ) -> Self {
        let walk = order.walk(lane, step);
        let fetches = walk.streams().iter().cloned().map(|mut ahead| {
            let next = fetch.spawn(window(reader.clone(), pieces(&mut ahead)));
            Fetch { ahead, now: None, next }
        });
        let fetches = fetches.collect();
        Self { walk, fetches }
    }

    /// The next slot with its window; waits until that is fetched.
    pub(super) fn take(&mut self, reader: &Arc<Reader>, fetch: &Runtime) -> Result<(Slot, Arc<Window>)> {
        let ended = || Error::Thread("a lane has no slot".into());
        let window = self.walk.stream().and_then(Stream::window);
        let key = window.map(|window| (window.epoch, window.number)).ok_or_else(ended)?;
        let slot = self.walk.next().ok_or_else(ended)?;
        let stream = self.fetches.get_mut(slot.pool as usize).ok_or_else(ended)?;
        Ok((slot, stream.window(key, reader, fetch)?))
    }

    /// See [`Stream::substitute`].
    pub(super) fn substitute(&self, slot: &Slot, attempt: u64) -> Option<Slot> {
        self.walk.substitute(slot, attempt)
    }
}

impl Fetch<'_> {
    /// The window `key`, which is the one before or the next; waits until it is fetched.
    fn window(&mut self, key: Key, reader: &Arc<Reader>, fetch: &Runtime) -> Result<Arc<Window>> {
        if let Some((held, window)) = &self.now
            && *held == key
        {
            return Ok(window.clone());
        }
        self.ahead.skip_window();
        let following = fetch.spawn(window(reader.clone(), pieces(&mut self.ahead)));
        let fetched = fetch.block_on(std::mem::replace(&mut self.next, following));
        let fetched = Arc::new(fetched.map_err(|e| Error::Thread(e.to_string()))??);
        self.now = Some((key, fetched.clone()));
        Ok(fetched)
    }
}

fn pieces(stream: &mut Stream<'_>) -> Vec<Piece> {
    stream.window().map(|window| window.pieces.clone()).unwrap_or_default()
}

async fn window(reader: Arc<Reader>, pieces: Vec<Piece>) -> Result<Window> {
    let fetch = |piece: Piece| {
        let reader = &reader;
        async move { Ok((piece.group, reader.fetch(piece.group, piece.rows).await?)) }
    };
    let fetched = futures::future::try_join_all(pieces.into_iter().map(fetch)).await;
    fetched.map(|groups| Window { groups: groups.into_iter().collect() })
}
