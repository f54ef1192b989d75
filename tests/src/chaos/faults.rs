//! A strike as something that is done to processes, links and the disk, and what ends it.

use super::{
    disk::Disk,
    failure::Outcome,
    fleet::Fleet,
    hosts::{Host, Hosts, Net},
    plan::{Fault, Strike},
};

/// What ends a strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mend {
    /// SIGCONT.
    Continue(u64),
    /// The host is in the network again.
    Attach(Host, Net),
    /// The host's traffic is as fast as before.
    Hasten(Host),
    /// The disk has space again.
    Empty,
    /// The disk answers again.
    Thaw,
    /// The worker that joined is told to go.
    Leave,
}

/// Where strikes hit.
pub(super) struct Field<'a> {
    /// The processes.
    pub(super) fleet: &'a mut Fleet,
    /// The links.
    pub(super) hosts: &'a Hosts,
    /// The disk of the output, where it has one.
    pub(super) disk: Option<&'a Disk>,
}

impl Field<'_> {
    /// Strikes; says whom, nobody if all of them are away, and what ends it. Those who can be hit are `seated`, by rank, or else all workers.
    ///
    /// # Errors
    /// The system does not do it.
    pub(super) fn strike(&mut self, strike: &Strike, seated: &[u64]) -> Outcome<(String, Vec<Mend>)> {
        let workers = self.fleet.workers();
        let candidates = if seated.is_empty() { &workers[..] } else { seated };
        let chosen = (!candidates.is_empty()).then(|| (strike.victim % candidates.len() as u64) as usize);
        let victim: Vec<u64> = chosen.map(|at| candidates[at]).into_iter().collect();
        let host = victim.first().and_then(|pid| self.fleet.whereabouts(*pid)).map(|(host, _)| host);
        let named = victim.first().and_then(|pid| self.fleet.whereabouts(*pid));
        let mut whom = named.map(|(_, name)| name.to_owned()).unwrap_or_default();
        let coordinator: Vec<u64> = self.fleet.coordinator().into_iter().collect();
        let mut mends = Vec::new();
        match strike.fault {
            Fault::KillWorker => self.fleet.signal("KILL", &victim),
            Fault::KillCoordinator => self.fleet.signal("KILL", &coordinator),
            Fault::KillBoth => self.fleet.signal("KILL", &[&victim[..], &coordinator].concat()),
            Fault::KillWorkers => self.fleet.signal("KILL", &workers),
            Fault::KillAll => self.fleet.signal("KILL", &[&workers[..], &coordinator].concat()),
            Fault::StopBriefly | Fault::StopLong => {
                self.fleet.signal("STOP", &victim);
                mends.extend(victim.iter().map(|pid| Mend::Continue(*pid)));
            }
            Fault::StopCoordinator => {
                self.fleet.signal("STOP", &coordinator);
                mends.extend(coordinator.iter().map(|pid| Mend::Continue(*pid)));
            }
            Fault::Drain => self.fleet.signal("TERM", &victim),
            Fault::Join => {
                self.fleet.join();
                mends.push(Mend::Leave);
            }
            Fault::CutCoordinator => mends = self.cut(host, &[Net::Control])?,
            Fault::CutPeers => mends = self.cut(host, &[Net::Data])?,
            Fault::CutAll => mends = self.cut(host, &[Net::Control, Net::Data])?,
            Fault::Delay => {
                if let Some(host) = host {
                    self.hosts.delay(host)?;
                    mends.push(Mend::Hasten(host));
                }
            }
            Fault::DiskFull => {
                self.disk.map_or(Ok(()), Disk::fill)?;
                mends.push(Mend::Empty);
            }
            Fault::DiskStalls => {
                self.disk.map_or(Ok(()), Disk::freeze)?;
                mends.push(Mend::Thaw);
            }
        }
        match strike.fault {
            Fault::KillCoordinator | Fault::StopCoordinator => {
                whom = if coordinator.is_empty() { String::new() } else { "coordinator".into() }
            }
            Fault::KillBoth => whom.push_str(" and coordinator"),
            Fault::KillWorkers => whom = format!("{} workers", workers.len()),
            Fault::KillAll => whom = format!("{} workers and coordinator", workers.len()),
            Fault::Join => whom = "one more".into(),
            Fault::DiskFull | Fault::DiskStalls => whom = "the output".into(),
            _ => {}
        }
        Ok((whom, mends))
    }

    fn cut(&self, host: Option<Host>, nets: &[Net]) -> Outcome<Vec<Mend>> {
        let Some(host) = host else { return Ok(Vec::new()) };
        nets.iter().map(|net| self.hosts.cut(host, *net).map(|()| Mend::Attach(host, *net))).collect()
    }

    /// Ends a strike.
    ///
    /// # Errors
    /// The system does not do it.
    pub(super) fn mend(&mut self, mend: Mend) -> Outcome<()> {
        match mend {
            Mend::Continue(pid) => {
                // It may have been killed meanwhile.
                if self.fleet.whereabouts(pid).is_some() {
                    self.fleet.signal("CONT", &[pid]);
                }
                Ok(())
            }
            Mend::Attach(host, net) => self.hosts.mend(host, net),
            Mend::Hasten(host) => self.hosts.hasten(host),
            Mend::Empty => self.disk.map_or(Ok(()), Disk::empty),
            Mend::Thaw => self.disk.map_or(Ok(()), Disk::thaw),
            Mend::Leave => {
                let joined: Vec<u64> = self.fleet.joined().into_iter().collect();
                self.fleet.signal("TERM", &joined);
                Ok(())
            }
        }
    }
}
