//! Chaos: a run of real processes that is struck again and again, by a plan that is a function of a seed, and whose result is held
//! against that of an undisturbed run.
//!
//! With root each worker is a host of its own (`hosts.rs`), so that partitions and delays are real, and the output is a disk of its
//! own (`disk.rs`) that gets full or stops to answer. Without root all processes share loopback and the faults that need those are
//! left out; the report says so. An object store that is down is not among the faults: the output is a disk here, which stalls and is full,
//! and the tests of stores have the others.

mod disk;
mod failure;
mod faults;
mod fleet;
mod hosts;
mod judge;
mod plan;
mod process;
mod relay;
mod report;
mod watch;

pub use failure::{Outcome, Why};
pub use plan::Fault;
pub use relay::relay;
pub use report::Report;

use crate::{
    program,
    run::{Place, Told},
};
use disk::Disk;
use faults::{Field, Mend};
use fleet::{Fleet, OwnEnd};
use hosts::{Host, Hosts, is_root};
use plan::{Strike, plan};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use watch::Watch;

/// Pairs of the dataset.
const PAIRS: u32 = 480;
/// How long training may take to go on after a fault, and how often that is looked at.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
/// How often a line tells how it goes.
const TELL: Duration = Duration::from_secs(5);
/// Where the disk is mounted, and the run's output on it, in the folder of the trial.
const DISK: &str = "disk";
const OUTPUT: &str = "disk/run";
/// Workers that wait to take a place.
const SPARES: usize = 1;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the plan.
    pub seed: u64,
    /// No strike begins after this time.
    pub time: Duration,
    /// Most strikes.
    pub strikes: usize,
    /// Workers that the run wants.
    pub workers: usize,
    /// Which faults; those that need root are left out without it.
    pub faults: Vec<Fault>,
    /// The program with the verb `relay`.
    pub relay: PathBuf,
    /// Keeps the folder also when all is well.
    pub keep: bool,
}

/// A strike that was made.
#[derive(Clone, Debug)]
struct Struck {
    /// What was planned.
    strike: Strike,
    /// Whom it hit.
    whom: String,
    /// When, since the run began.
    at: Duration,
}

/// Makes a run, strikes it, and judges it.
///
/// # Errors
/// The harness itself can't go on. What is wrong with the run is in the report.
pub fn chaos(options: &Options) -> Outcome<Report> {
    let mut place = Place::drawn(PAIRS);
    // Until it is known that nobody has to look at it.
    place.keep(true);
    eprintln!("the run lies in {}", place.path(""));
    let mut trial = Trial::new(options, &place)?;
    let (struck, mut wrong) = trial.suffer(options)?;
    wrong.extend(trial.end(&struck)?);
    let verdict = judge::judge(&place, OUTPUT, options)?;
    wrong.extend(verdict.wrong.clone());
    let report = Report::new(options, &trial, &struck, verdict, wrong, Path::new(&place.path("")));
    if options.keep || !report.holds() {
        trial.save(&place)?;
    } else {
        place.keep(false);
    }
    Ok(report)
}

/// A run that is struck.
struct Trial {
    // The order in which they go: processes, their hosts, the disk that they write to.
    fleet: Fleet,
    hosts: Hosts,
    disk: Option<Disk>,
    watch: Watch,
    wanted: usize,
    mends: Vec<(Duration, Mend)>,
    told: Instant,
}

impl Trial {
    fn new(options: &Options, place: &Place) -> Outcome<Self> {
        let root = is_root();
        let hosts = if root {
            Hosts::namespaces(options.workers + SPARES + 1, &options.relay)?
        } else {
            Hosts::plain().map_err(|error| Why::new("finding a port", &error))?
        };
        let disk = root.then(|| Disk::mount(Path::new(&place.path(DISK)))).transpose()?;
        let sets = judge::sets(options.workers);
        let listen = format!("cluster.listen={}", hosts.coordinator());
        let sets: Vec<&str> = sets.iter().map(String::as_str).chain([listen.as_str()]).collect();
        let arguments = place.arguments(OUTPUT, &sets);
        let fleet = Fleet::new(options.workers, SPARES, arguments, place.path("logs").into())?;
        Ok(Self {
            fleet,
            hosts,
            disk,
            watch: Watch::default(),
            wanted: options.workers,
            mends: Vec::new(),
            told: Instant::now(),
        })
    }

    /// Strikes until the plan or the time is over; says what was wrong on the way.
    fn suffer(&mut self, options: &Options) -> Outcome<(Vec<Struck>, Vec<String>)> {
        let root = self.hosts.are_apart();
        let faults: Vec<Fault> =
            options.faults.iter().copied().filter(|fault| root || !fault.needs_root()).collect();
        let mut struck: Vec<Struck> = Vec::new();
        let mut wrong = Vec::new();
        if !self.recovers(Duration::ZERO)? {
            wrong.push(format!("the run does not begin within {PATIENCE:?}"));
            return Ok((struck, wrong));
        }
        let begin = self.fleet.now();
        for (number, strike) in plan(options.seed, &faults).take(options.strikes).enumerate() {
            if !strike.overlaps && !self.recovers(self.fleet.now())? {
                wrong.push(stuck(struck.last()));
                break;
            }
            self.pass(strike.pause)?;
            if self.fleet.now() - begin > options.time {
                break;
            }
            let disk = matches!(strike.fault, Fault::DiskFull | Fault::DiskStalls);
            if disk && self.mends.iter().any(|(_, mend)| matches!(mend, Mend::Empty | Mend::Thaw)) {
                // A disk that does not answer can be neither filled nor freed, also not from here.
                continue;
            }
            self.fleet.stay_away(strike.absence);
            let at = self.fleet.now();
            let seated = self.watch.seated();
            let (whom, mends) = self.field().strike(&strike, &seated)?;
            // What they still say of a generation that can't go on is not taken for a recovery.
            self.fleet.leaving().into_iter().for_each(|pid| self.watch.ended(pid));
            if whom.is_empty() {
                // Those whom it would hit are away.
                continue;
            }
            self.mends.extend(mends.into_iter().map(|mend| (at + strike.lasts, mend)));
            eprintln!("{}", announced(number, &strike, &whom, at, &self.watch));
            struck.push(Struck { strike, whom, at });
        }
        if wrong.is_empty() && !self.recovers(self.fleet.now())? {
            wrong.push(stuck(struck.last()));
        }
        Ok((struck, wrong))
    }

    fn field(&mut self) -> Field<'_> {
        Field { fleet: &mut self.fleet, hosts: &self.hosts, disk: self.disk.as_ref() }
    }

    /// Lets the run go on, ends strikes in time, and tells how it goes.
    fn pass(&mut self, time: Duration) -> Outcome<()> {
        let end = self.fleet.now() + time;
        loop {
            let now = self.fleet.now();
            let due: Vec<Mend> =
                self.mends.iter().filter(|(at, _)| *at <= now).map(|(_, mend)| *mend).collect();
            self.mends.retain(|(at, _)| *at > now);
            for mend in due {
                self.field().mend(mend)?;
            }
            if self.told.elapsed() > TELL {
                self.told = Instant::now();
                let (step, generation) = (self.watch.step(), self.watch.generation());
                let seated = self.watch.seated().len();
                eprintln!(
                    "{:7.1} s  step {step}, generation {generation}, {seated} seats",
                    now.as_secs_f64()
                );
            }
            if now >= end {
                return Ok(());
            }
            self.fleet.pass(LOOK.min(end - now), &self.hosts, &mut self.watch)?;
        }
    }

    /// Waits until all strikes have their end and as many workers as wanted have committed a step after that, and after `since`.
    fn recovers(&mut self, since: Duration) -> Outcome<bool> {
        let mut since = since;
        let mut waited = Instant::now();
        loop {
            if !self.mends.is_empty() {
                (since, waited) = (self.fleet.now(), Instant::now());
            } else if self.watch.is_whole(self.wanted, since) && self.fleet.coordinator().is_some() {
                return Ok(true);
            } else if waited.elapsed() > PATIENCE {
                return Ok(false);
            }
            self.pass(LOOK)?;
        }
    }

    /// Stops the run in order, and waits until no process is left; says what is wrong.
    fn end(&mut self, struck: &[Struck]) -> Outcome<Vec<String>> {
        let told = |end: &OwnEnd| {
            format!("{} ended by itself at {:.1} s: {:?}", end.name, end.at.as_secs_f64(), end.code)
        };
        let ends = self.fleet.own_ends().iter().filter(|end| !finds_no_room(struck, end));
        let mut wrong: Vec<String> = ends.map(told).collect();
        // All are there, so that none comes to a run that is over.
        let begin = Instant::now();
        while !self.fleet.is_complete() && begin.elapsed() < PATIENCE {
            self.pass(LOOK)?;
        }
        self.fleet.let_go();
        let url = format!("http://{}", self.hosts.coordinator());
        let stop = || -> Outcome<Told> {
            let mut stop = self.hosts.command(Host::Hub, &program("tandem"));
            let stopped = stop.args(["stop", "--no-wait", "--coordinator", &url]).output();
            stopped.map(Told::from).map_err(|error| Why::new("tandem stop", &error))
        };
        let mut stopped = stop()?;
        while stopped.code == Some(69) && begin.elapsed() < PATIENCE {
            // It has only just started.
            stopped = stop()?;
        }
        if stopped.code != Some(0) {
            wrong.push(format!("the run can't be stopped: {stopped:?}"));
        }
        let start = Instant::now();
        while !self.fleet.running().is_empty() && start.elapsed() < PATIENCE {
            self.pass(LOOK)?;
        }
        if !self.fleet.running().is_empty() {
            wrong.push(format!("still there after the end: {}", self.fleet.running().join(", ")));
        }
        match self.fleet.last_code() {
            Some(75) => {}
            code => wrong.push(format!("the coordinator ends with {code:?}, not with 75")),
        }
        Ok(wrong)
    }

    /// What the report has to say of where the run took place.
    fn conditions(&self) -> Vec<String> {
        if self.hosts.are_apart() {
            let delay = self.hosts.delay_by();
            vec![format!(
                "each worker is a network namespace; its traffic is delayed by {delay}; the output is a disk of its own"
            )]
        } else {
            let left = Fault::ALL.iter().filter(|fault| fault.needs_root()).map(|fault| fault.name());
            let left: Vec<&str> = left.collect();
            vec![format!("without root all processes share loopback, and there are no {}", left.join(", "))]
        }
    }

    /// Copies the run from its disk, which goes with the trial.
    fn save(&self, place: &Place) -> Outcome<()> {
        match &self.disk {
            Some(_) => failure::run("cp", &["-r", &place.path(OUTPUT), &place.path("run")]),
            None => Ok(()),
        }
    }
}

/// Whether a coordinator was started on a full disk: it can decide nothing there, and is started until it can.
fn finds_no_room(struck: &[Struck], end: &OwnEnd) -> bool {
    let full = |one: &&Struck| one.strike.fault == Fault::DiskFull && one.at <= end.at;
    let last = struck.iter().rfind(full);
    let lasts = last.is_some_and(|one| end.at <= one.at + one.strike.lasts + LOOK * 10);
    end.name == "coordinator" && end.code == Some(74) && lasts
}

fn stuck(last: Option<&Struck>) -> String {
    let fault = last.map_or("the beginning", |struck| struck.strike.fault.name());
    format!("training does not go on with all workers within {PATIENCE:?} after {fault}")
}

fn announced(number: usize, strike: &Strike, whom: &str, at: Duration, watch: &Watch) -> String {
    let Strike { fault, lasts, overlaps, .. } = strike;
    let together = if *overlaps { ", on top of the one before" } else { "" };
    let long = if lasts.is_zero() { String::new() } else { format!(" for {:.1} s", lasts.as_secs_f64()) };
    format!(
        "{:7.1} s  step {}, generation {}: #{} {} {whom}{long}{together}",
        at.as_secs_f64(),
        watch.step(),
        watch.generation(),
        number + 1,
        fault.name()
    )
}

/// The ends of the logs of a failed run, for whoever reads its output.
pub fn tails(folder: &Path, lines: usize) -> String {
    let logs = fs::read_dir(folder.join("logs")).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<PathBuf> = logs.map(|entry| entry.path()).collect();
    paths.sort();
    let tail = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let of_interest: Vec<&str> = text.lines().filter(|line| !line.contains("committed step ")).collect();
        let from = of_interest.len().saturating_sub(lines);
        format!("--- {}\n{}\n", path.display(), of_interest[from..].join("\n"))
    };
    paths.iter().map(tail).collect()
}
