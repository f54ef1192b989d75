//! A simulated worker: the real session, with a state that is nothing but its line.

use super::super::{Dial, Link, Session, Told, v1};
use super::net::dial;
use super::plane::{Gift, Lost, Place};
use super::world::World;
use crate::error::{Error, Result};
use crate::vote::Wishes;
use proto::checkpoint::{FOLDER, Part, part_name};
use proto::settle::{Deed, Held, Plan, settle};
use proto::{Generation, GlobalStep, PROTOCOL_VERSION};
use shards::committed::digest;
use shards::ledger;
use std::time::Duration;
use tokio::time::sleep;

/// How long a step takes.
const STEP: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(60);

/// What a worker keeps from one generation to the next.
#[derive(Default)]
struct Holding {
    line: Vec<u64>,
    staged: Option<u64>,
    settled: Generation,
}

struct Puppet {
    world: World,
    session: Session,
    held: Holding,
    seat: v1::Assignment,
}

/// Lives until the run is over, or this worker has no part in it.
pub(super) async fn work(world: World, host: String) {
    match live(world.clone(), host.clone()).await {
        Ok(()) => world.tell(format!("{host} is done")),
        Err(error) => world.tell(format!("{host} ends: {error}")),
    }
}

async fn live(world: World, host: String) -> Result<()> {
    let link = Link::connect(&world.url(), PATIENCE, Dial::new(dial)).await?;
    let pid = world.pid();
    let request = v1::JoinRequest { protocol: PROTOCOL_VERSION, host, pid, weight: 1, ..Default::default() };
    let session = Session::join_over(link, request, PATIENCE).await?;
    session.link.follow(world.output.clone());
    let mut puppet = Puppet { world, session, held: Holding::default(), seat: v1::Assignment::default() };
    let mut broken = false;
    loop {
        puppet.session.wait(puppet.held.held(), broken);
        puppet.seat = puppet.session.assignment().await?;
        broken = match puppet.take().await {
            Ok(true) => break,
            Ok(false) => false,
            Err(error) if error.passes() => true,
            Err(error) => return Err(error),
        };
    }
    puppet.session.leave(&Ok(())).await;
    Ok(())
}

impl Holding {
    fn held(&self) -> Held {
        let (applied, staged) = (self.step(), self.staged.is_some());
        Held { settled: self.settled, applied, staged, rolls_back: false }
    }

    fn step(&self) -> GlobalStep {
        GlobalStep(self.line.len() as u64)
    }
}

impl Puppet {
    /// Trains in a seat; says whether the run is over.
    async fn take(&mut self) -> Result<bool> {
        let v1::Assignment { generation, rank, world_size, .. } = self.seat;
        let mut place = self.world.plane.join(generation, rank, world_size);
        self.settle(&mut place).await?;
        let (steps, every) = (self.session.config.optimizer.steps, self.session.config.checkpoint.every);
        if self.seat.checkpoint_request > 0 || self.held.step().0 == steps {
            self.keep(self.held.step().0 == steps).await?;
        }
        self.session.enter(v1::Phase::Training, self.held.step());
        while self.held.step().0 < steps {
            sleep(STEP).await;
            self.held.staged = Some(generation);
            let wishes = if rank == 0 { self.session.wishes()? } else { Wishes::default() };
            let all = self.exchange(&mut place, wishes).await?;
            self.held.line.extend(self.held.staged.take());
            let step = self.held.step();
            self.session.enter(v1::Phase::Training, step);
            let Wishes { checkpoint, regroup, .. } = all[0].wishes;
            if checkpoint || step.0.is_multiple_of(every) || step.0 == steps {
                self.keep(step.0 == steps).await?;
            }
            if regroup {
                self.exchange(&mut place, Wishes::default()).await?;
                return Ok(false);
            }
        }
        self.session.enter(v1::Phase::Finishing, self.held.step());
        self.exchange(&mut place, Wishes::default()).await?;
        Ok(true)
    }

    fn resume(&self) -> (Generation, GlobalStep) {
        (Generation(self.seat.resume_generation), GlobalStep(self.seat.resume_step))
    }

    async fn exchange(&mut self, place: &mut Place, wishes: Wishes) -> Result<Vec<Gift>> {
        let gift = Gift { held: self.held.held(), line: self.held.line.clone(), wishes };
        let exchanged = place.exchange(&mut self.session.orders, gift).await;
        exchanged.map_err(|Lost| Error::Unseated {
            generation: Generation(self.seat.generation),
            reason: "a peer or the seat is gone".into(),
        })
    }

    /// Makes one state of what the ranks hold.
    async fn settle(&mut self, place: &mut Place) -> Result<()> {
        let all = self.exchange(place, Wishes::default()).await?;
        let held: Vec<Held> = all.iter().map(|gift| gift.held).collect();
        let (_, committed) = self.world.newest().await;
        match settle(&held, self.resume()) {
            Plan::Begin => (self.held.line, self.held.staged) = (committed.clone(), None),
            Plan::Settle { leader, deeds, .. } => match deeds[self.seat.rank as usize] {
                Deed::Keep => self.held.staged = None,
                Deed::Apply => self.held.line.extend(self.held.staged.take()),
                Deed::Receive => {
                    // What it held counts no more, and what it receives not yet.
                    self.held.settled = Generation(0);
                    self.held.line = all[leader.index()].line.clone();
                    self.held.staged = None;
                }
            },
            Plan::RollBack { .. } => self.world.object("nobody asked for going back".into()),
        }
        let all = self.exchange(place, Wishes::default()).await?;
        if all.iter().any(|gift| gift.line != self.held.line) {
            let lines: Vec<_> = all.iter().map(|gift| &gift.line).collect();
            self.world.object(format!("generation {}: {lines:?} for one state", self.seat.generation));
        }
        if !self.held.line.starts_with(&committed) {
            self.world
                .object(format!("{:?} does not go on from what is committed, {committed:?}", self.held.line));
        }
        self.held.settled = Generation(self.seat.generation);
        if self.seat.rank == 0 {
            let (generation, step) = (self.seat.generation, self.held.step());
            self.world.tell(format!("generation {generation} of {} goes on at step {step}", all.len()));
        }
        Ok(())
    }

    /// Writes a part of a checkpoint and reports it; waits for the last one.
    async fn keep(&mut self, last: bool) -> Result<()> {
        let v1::Assignment { generation, rank, world_size, .. } = self.seat;
        let request = if rank == 0 { self.session.serve() } else { 0 };
        let bytes = serde_json::to_vec(&self.held.line).unwrap();
        let name = part_name(Generation(generation), rank as usize);
        let checkpoints = self.world.output.below(FOLDER);
        let part = Part { name, size: bytes.len() as u64, sha256: digest(&bytes) };
        checkpoints.step(self.held.step()).put(&part.name, bytes).await?;
        let segment = format!("segment-{}", self.held.step());
        self.world.output.below(ledger::FOLDER).put(&segment, vec![0]).await?;
        let segment = v1::Segment { name: segment, size: 1, sha256: digest(&[0]) };
        let report = v1::ReportPartRequest {
            member: String::new(),
            generation,
            step: self.held.step().0,
            rank,
            parts: world_size,
            name: part.name,
            size: part.size,
            sha256: part.sha256,
            state: "{}".into(),
            ledger: (rank == 0).then_some(segment),
            checkpoint_request: request,
        };
        let voice = self.session.voice();
        if !last {
            tokio::spawn(async move { voice.report_part(report).await });
            return Ok(());
        }
        loop {
            self.session.seated()?;
            match voice.report_part(report.clone()).await? {
                Told::Committed => return Ok(()),
                Told::Taken => sleep(STEP).await,
                Told::GivenUp(reason) => {
                    return Err(Error::Unseated { generation: Generation(generation), reason });
                }
            }
        }
    }
}
