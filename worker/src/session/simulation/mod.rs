//! Whole runs in simulated time over a simulated network: the real coordinator with its journal and checkpoints, and many workers with
//! the real session, whose training is only played. Faults come by a plan that is a function of the seed, as do all latencies; then
//! they end, and the run has to reach its last step. A run that breaks a promise tells its seed and its story.
//!
//! Promises: the ranks of a generation begin from one state; no state ever lacks a step of the newest committed checkpoint; the parts
//! of a checkpoint are of one state, and checkpoints are of one line; a run ends only at its last step.

mod hub;
mod net;
mod plane;
mod puppet;
mod world;

use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::{format::Writer, time::FormatTime};
use turmoil::{Builder, Sim};
use world::World;

/// Hosts on which a coordinator may run.
const HUBS: usize = 2;
/// The run has to be over so long after the last fault, in simulated time.
const PATIENCE: Duration = Duration::from_secs(240);
/// A launcher starts again what has ended, after so long.
const RESTART: Duration = Duration::from_secs(1);

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Workers are killed.
    Workers,
    /// The coordinator is killed; the next one leads on the other host.
    Hub,
    /// Both.
    Both,
    /// All workers are killed.
    All,
    /// Another coordinator takes over from one that lives.
    Takeover,
    /// A worker is cut off from the coordinators for a while.
    Cut,
    /// The coordinator is cut off from all.
    Apart,
    /// What a worker and the coordinators send each other is late.
    Hold,
}

const FAULTS: [Fault; 8] = [
    Fault::Workers,
    Fault::Hub,
    Fault::Both,
    Fault::All,
    Fault::Takeover,
    Fault::Cut,
    Fault::Apart,
    Fault::Hold,
];

/// A simulated run.
struct Drill<'a> {
    world: World,
    sim: Sim<'a>,
    chance: ChaCha8Rng,
    workers: Vec<String>,
    /// Who is started again, and when.
    starts: Vec<(Duration, String)>,
    /// Whose connections to the coordinators are mended, and when; whether they were only held.
    mends: Vec<(Duration, String, bool)>,
}

impl Drill<'_> {
    fn new(seed: u64) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let count: usize = chance.random_range(2..=24);
        let least = chance.random_range(1..=count.div_ceil(2));
        let world = World::new(count, least, chance.random_range(60..200));
        let mut sim = Builder::new()
            .rng_seed(seed)
            .tick_duration(Duration::from_millis(5))
            .simulation_duration(Duration::from_secs(7200))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(chance.random_range(5..=80)))
            .tcp_capacity(1 << 16)
            .enable_random_order()
            .build();
        for number in 0..HUBS {
            let world = world.clone();
            sim.host(format!("hub-{number}"), move || {
                let world = world.clone();
                async move {
                    hub::serve(world, number).await;
                    Ok(())
                }
            });
        }
        let workers: Vec<String> = (0..count).map(|number| format!("worker-{number}")).collect();
        for name in &workers {
            let (world, host) = (world.clone(), name.clone());
            sim.host(name.as_str(), move || {
                let (world, host) = (world.clone(), host.clone());
                async move {
                    puppet::work(world, host).await;
                    Ok(())
                }
            });
        }
        Self { world, sim, chance, workers, starts: Vec::new(), mends: Vec::new() }
    }

    /// Plays the run to its end.
    fn play(&mut self) {
        let faults = self.chance.random_range(3..=12);
        for _ in 0..faults {
            let next = self.sim.elapsed() + Duration::from_millis(self.chance.random_range(500..8000));
            self.pass(next);
            if !self.is_over() {
                self.strike();
            }
        }
        self.pass(self.sim.elapsed() + PATIENCE);
        if !self.is_over() {
            self.world.object(format!("the run is not over {PATIENCE:?} after the last fault"));
        }
    }

    fn is_over(&self) -> bool {
        let record = self.world.record();
        record.done || record.broken.is_some()
    }

    /// Lets time pass, and the launcher do its work.
    fn pass(&mut self, until: Duration) {
        while self.sim.elapsed() < until && !self.is_over() {
            self.sim.step().unwrap();
            let now = self.sim.elapsed();
            let due: Vec<_> = self.starts.extract_if(.., |(at, _)| *at <= now).collect();
            for (_, host) in due {
                self.sim.bounce(host.as_str());
            }
            let due: Vec<_> = self.mends.extract_if(.., |(at, ..)| *at <= now).collect();
            for (_, host, held) in due {
                self.world.tell_at(now, format!("{host} is reached again"));
                self.mend(&host, held);
            }
            let hub = format!("hub-{}", self.world.record().hub);
            for host in self.workers.iter().chain([&hub]) {
                if !self.sim.is_host_running(host.as_str())
                    && self.starts.iter().all(|(_, other)| other != host)
                {
                    self.starts.push((now + RESTART, host.clone()));
                }
            }
        }
    }

    fn strike(&mut self) {
        let fault = *FAULTS.choose(&mut self.chance).unwrap();
        let count = self.chance.random_range(1..=self.workers.len().div_ceil(2));
        let some: Vec<String> = self.workers.sample(&mut self.chance, count).cloned().collect();
        let (hub, lasts) =
            (self.world.record().hub, Duration::from_millis(self.chance.random_range(200..9000)));
        let story = format!("{fault:?}: {} and others, {count} in all, or hub-{hub}, for {lasts:?}", some[0]);
        self.world.tell_at(self.sim.elapsed(), story);
        let mend = self.sim.elapsed() + lasts;
        match fault {
            Fault::Workers => self.kill(&some),
            Fault::All => self.kill(&self.workers.clone()),
            Fault::Hub => self.succeed(true),
            Fault::Both => {
                self.kill(&some);
                self.succeed(true);
            }
            Fault::Takeover => self.succeed(false),
            Fault::Cut | Fault::Hold => {
                let held = matches!(fault, Fault::Hold);
                for number in 0..HUBS {
                    let hub = format!("hub-{number}");
                    match held {
                        true => self.sim.hold(some[0].as_str(), hub.as_str()),
                        false => self.sim.partition(some[0].as_str(), hub.as_str()),
                    }
                }
                self.mends.push((mend, some[0].clone(), held));
            }
            Fault::Apart => {
                for host in &self.workers {
                    self.sim.partition(host.as_str(), format!("hub-{hub}").as_str());
                    self.mends.push((mend, host.clone(), false));
                }
            }
        }
    }

    fn kill(&mut self, hosts: &[String]) {
        for host in hosts {
            self.sim.crash(host.as_str());
        }
    }

    /// Another coordinator leads from now on.
    fn succeed(&mut self, killed: bool) {
        let before = self.world.record().hub;
        if killed {
            self.sim.crash(format!("hub-{before}").as_str());
        }
        let next = (before + 1) % HUBS;
        self.world.record().hub = next;
        self.sim.bounce(format!("hub-{next}").as_str());
    }

    fn mend(&self, host: &str, held: bool) {
        for number in 0..HUBS {
            let hub = format!("hub-{number}");
            match held {
                true => self.sim.release(host, hub.as_str()),
                false => self.sim.repair(host, hub.as_str()),
            }
        }
    }
}

/// The story of the run of a seed.
fn play(seed: u64) -> Vec<String> {
    let mut drill = Drill::new(seed);
    drill.play();
    let record = drill.world.record();
    if let Some(broken) = &record.broken {
        panic!("seed {seed}: {broken}\n{}", record.story.join("\n"));
    }
    record.story.clone()
}

#[test]
fn runs_of_many_workers_end_as_promised() {
    (0..12).for_each(|seed| drop(play(seed)));
}

/// Simulated time, for logs.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, into: &mut Writer<'_>) -> std::fmt::Result {
        write!(into, "{:9.3} s ", turmoil::sim_elapsed().unwrap_or_default().as_secs_f64())
    }
}

/// For `scripts/simulate.sh`.
#[test]
#[ignore = "takes a seed from the environment"]
fn the_run_of_a_seed_ends_as_promised() {
    let logs = tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_timer(Clock);
    let _ = logs.with_ansi(false).with_target(false).try_init();
    let seed = std::env::var("SEED").unwrap().parse().unwrap();
    play(seed).iter().for_each(|line| println!("{line}"));
}
