//! One lane: its walk, the window that it is in, and the next one on its way.

use crate::{
    error::{Error, Result},
    order::{Order, Piece, Slot, Walk},
    reader::{Reader, Row, Rows},
};
use proto::{GlobalStep, LaneId, RowGroupId};
use std::{collections::HashMap, sync::Arc};
use tokio::{
    runtime::{Handle, Runtime},
    task::JoinHandle,
};

/// Epoch and number of a window of a lane.
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
    /// Stands in the window that `next` fetches.
    ahead: Walk<'a>,
    now: Option<(Key, Arc<Window>)>,
    next: JoinHandle<Result<Window>>,
}

impl<'a> Lane<'a> {
    /// Begins to fetch the window of the lane's first slot in `step`.
    pub(super) fn start(
        order: &'a Order,
        lane: LaneId,
        step: GlobalStep,
        reader: &Arc<Reader>,
        fetch: &Handle,
    ) -> Self {
        let (walk, mut ahead) = (order.walk(lane, step), order.walk(lane, step));
        let next = fetch.spawn(window(reader.clone(), pieces(&mut ahead)));
        Self { walk, ahead, now: None, next }
    }

    /// The next slot with its window; waits until that is fetched.
    pub(super) fn take(&mut self, reader: &Arc<Reader>, fetch: &Runtime) -> Result<(Slot, Arc<Window>)> {
        let ended = || Error::Thread("a lane has no slot".into());
        let key = self.walk.window().map(|window| (window.epoch, window.number)).ok_or_else(ended)?;
        let window = match &self.now {
            Some((held, window)) if *held == key => window.clone(),
            _ => {
                self.ahead.skip_window();
                let following = fetch.spawn(window(reader.clone(), pieces(&mut self.ahead)));
                let fetched = fetch.block_on(std::mem::replace(&mut self.next, following));
                let fetched = Arc::new(fetched.map_err(|e| Error::Thread(e.to_string()))??);
                self.now = Some((key, fetched.clone()));
                fetched
            }
        };
        Ok((self.walk.next().ok_or_else(ended)?, window))
    }

    /// See [`Walk::substitute`].
    pub(super) fn substitute(&mut self, slot: &Slot, attempt: u64) -> Option<Slot> {
        self.walk.substitute(slot, attempt)
    }
}

fn pieces(walk: &mut Walk<'_>) -> Vec<Piece> {
    walk.window().map(|window| window.pieces.clone()).unwrap_or_default()
}

async fn window(reader: Arc<Reader>, pieces: Vec<Piece>) -> Result<Window> {
    let fetch = |piece: Piece| {
        let reader = &reader;
        async move { Ok((piece.group, reader.fetch(piece.group, piece.rows).await?)) }
    };
    let fetched = futures::future::try_join_all(pieces.into_iter().map(fetch)).await;
    fetched.map(|groups| Window { groups: groups.into_iter().collect() })
}
