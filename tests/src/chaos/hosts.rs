//! Machines of a run. With root each is a network namespace with addresses of its own in two networks, one for control and one for
//! the collectives, whose bridges are in a namespace of their own: what is cut there is lost without a word, as in a real switch.
//!
//! A coordinator without TLS listens on loopback only, so each worker's host has a tunnel as docs/operations.md asks for: a relay
//! of ours listens on the coordinator's port and passes bytes on, over the control network, to a relay in the coordinator's host.
//! Without root all is one host, and nothing can be cut.

use super::failure::{Outcome, Why, run};
use std::{
    io,
    path::Path,
    process::{Child, Command, Stdio},
};

/// The port of the coordinator, the same in all namespaces: workers also find it in the run's journal.
const PORT: u16 = 7070;
/// The coordinator's host in the control network.
const HUB: &str = "10.77.0.1";

/// One of the two networks of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Net {
    /// From workers to the coordinator.
    Control,
    /// Between workers.
    Data,
}

impl Net {
    fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Data => "data",
        }
    }
}

/// Where a process is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// The coordinator's.
    Hub,
    /// A worker's.
    Worker(usize),
}

/// All hosts of a run. Dropping it ends what runs in its namespaces, and them.
pub(super) struct Hosts {
    /// What the names of the namespaces begin with; none where there are none.
    prefix: Option<String>,
    port: u16,
    relays: Vec<Child>,
    delay: Vec<&'static str>,
}

/// Whether this process may make namespaces and mount disks.
pub(super) fn is_root() -> bool {
    crate::output("id", &["-u"]).trim() == "0" && run("ip", &["netns", "list"]).is_ok()
}

impl Hosts {
    /// One host: this one.
    ///
    /// # Errors
    /// No port is free.
    pub(super) fn plain() -> io::Result<Self> {
        let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self { prefix: None, port: free, relays: Vec::new(), delay: Vec::new() })
    }

    /// A namespace for the coordinator and each of `workers` workers, and the relays in them.
    ///
    /// # Errors
    /// Namespaces, links or relays that can't be made.
    pub(super) fn namespaces(workers: usize, relay: &Path) -> Outcome<Self> {
        sweep();
        let prefix = format!("tandem-{}-", std::process::id());
        let mut hosts =
            Self { prefix: Some(prefix.clone()), port: PORT, relays: Vec::new(), delay: Vec::new() };
        let switch = format!("{prefix}switch");
        run("ip", &["netns", "add", &switch])?;
        for net in [Net::Control, Net::Data] {
            run("ip", &["-n", &switch, "link", "add", net.name(), "type", "bridge"])?;
            run("ip", &["-n", &switch, "link", "set", net.name(), "up"])?;
        }
        for host in std::iter::once(Host::Hub).chain((0..workers).map(Host::Worker)) {
            let name = hosts.namespace(host).unwrap_or_default();
            run("ip", &["netns", "add", &name])?;
            run("ip", &["-n", &name, "link", "set", "lo", "up"])?;
            plug(&switch, &name, host, Net::Control)?;
            let here = format!("127.0.0.1:{PORT}");
            let hub = format!("{HUB}:{PORT}");
            let (from, to) = match host {
                Host::Hub => (&hub, &here),
                Host::Worker(_) => {
                    plug(&switch, &name, host, Net::Data)?;
                    (&here, &hub)
                }
            };
            let mut command = hosts.command(host, relay);
            let relay = command.args(["relay", from, to]).stdin(Stdio::null()).spawn();
            hosts.relays.push(relay.map_err(|error| Why::new("starting a relay", &error))?);
        }
        hosts.delay = delays(&hosts.namespace(Host::Hub).unwrap_or_default());
        Ok(hosts)
    }

    /// How traffic is slowed down: by `netem`, or by a narrow bucket where the kernel has no `netem`.
    pub(super) fn delay_by(&self) -> String {
        self.delay.join(" ")
    }

    /// Whether they are namespaces.
    pub(super) fn are_apart(&self) -> bool {
        self.prefix.is_some()
    }

    /// Where the coordinator listens, seen from every host.
    pub(super) fn coordinator(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A program that is going to run on a host.
    pub(super) fn command(&self, host: Host, program: &Path) -> Command {
        match self.namespace(host) {
            None => Command::new(program),
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &name]).arg(program);
                command
            }
        }
    }

    /// The address that carries a host's collectives.
    pub(super) fn interface(&self, host: Host) -> String {
        if self.are_apart() { address(host, Net::Data) } else { "127.0.0.1".into() }
    }

    /// Nothing passes between a host and a network any more.
    ///
    /// # Errors
    /// The link can't be changed.
    pub(super) fn cut(&self, host: Host, net: Net) -> Outcome<()> {
        self.link(host, net, &["nomaster"])
    }

    /// The network is there again.
    ///
    /// # Errors
    /// As [`cut`](Self::cut).
    pub(super) fn mend(&self, host: Host, net: Net) -> Outcome<()> {
        self.link(host, net, &["master", net.name()])
    }

    /// What a host tells its peers comes late, until it is `hasten`ed; it may be struck twice.
    ///
    /// # Errors
    /// The kernel can't do it.
    pub(super) fn delay(&self, host: Host) -> Outcome<()> {
        let discipline = ["qdisc", "replace", "dev", "data", "root"];
        self.traffic(host, &[&discipline[..], &self.delay].concat())
    }

    /// Takes back what [`delay`](Self::delay) did.
    ///
    /// # Errors
    /// As there.
    pub(super) fn hasten(&self, host: Host) -> Outcome<()> {
        self.traffic(host, &["qdisc", "replace", "dev", "data", "root", "pfifo"])
    }

    fn traffic(&self, host: Host, arguments: &[&str]) -> Outcome<()> {
        let Some(name) = self.namespace(host) else { return Ok(()) };
        run("tc", &[&["-n", &name], arguments].concat())
    }

    fn link(&self, host: Host, net: Net, change: &[&str]) -> Outcome<()> {
        let Some(prefix) = &self.prefix else { return Ok(()) };
        let (switch, port) = (format!("{prefix}switch"), port(host, net));
        run("ip", &[&["-n", &switch, "link", "set", &port], change].concat())
    }

    fn namespace(&self, host: Host) -> Option<String> {
        let prefix = self.prefix.as_ref()?;
        Some(match host {
            Host::Hub => format!("{prefix}hub"),
            Host::Worker(number) => format!("{prefix}w{number}"),
        })
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for relay in &mut self.relays {
            let _ = relay.kill();
            let _ = relay.wait();
        }
        if let Some(prefix) = &self.prefix {
            remove(|name| name.starts_with(prefix.as_str()));
        }
    }
}

/// A cable between a host and a bridge.
fn plug(switch: &str, name: &str, host: Host, net: Net) -> Outcome<()> {
    let (port, address) = (port(host, net), format!("{}/24", address(host, net)));
    let inner =
        ["link", "add", net.name(), "netns", name, "type", "veth", "peer", "name", &port, "netns", switch];
    run("ip", &inner)?;
    run("ip", &["-n", switch, "link", "set", &port, "master", net.name(), "up"])?;
    run("ip", &["-n", name, "address", "add", &address, "dev", net.name()])?;
    run("ip", &["-n", name, "link", "set", net.name(), "up"])
}

/// A host's port of a bridge.
fn port(host: Host, net: Net) -> String {
    match host {
        Host::Hub => format!("{}-hub", net.name()),
        Host::Worker(number) => format!("{}-{number}", net.name()),
    }
}

fn address(host: Host, net: Net) -> String {
    let network = if net == Net::Control { 0 } else { 1 };
    match host {
        Host::Hub => format!("10.77.{network}.1"),
        Host::Worker(number) => format!("10.77.{network}.{}", number + 2),
    }
}

/// The first discipline that this kernel has.
fn delays(namespace: &str) -> Vec<&'static str> {
    let netem = vec!["netem", "delay", "30ms", "10ms"];
    let bucket = vec!["tbf", "rate", "20mbit", "burst", "32kb", "latency", "400ms"];
    let here = ["-n", namespace, "qdisc"];
    let on = ["dev", "control", "root"];
    let works = run("tc", &[&here[..], &["add"], &on, &netem].concat()).is_ok();
    if works {
        let _ = run("tc", &[&here[..], &["del"], &on].concat());
        return netem;
    }
    bucket
}

/// Ends what a harness that was killed has left.
fn sweep() {
    remove(|name| {
        let pid = name.strip_prefix("tandem-").and_then(|rest| rest.split('-').next());
        pid.and_then(|pid| pid.parse().ok()).is_some_and(|pid| !crate::run::alive(pid))
    });
}

fn remove(chosen: impl Fn(&str) -> bool) {
    let listed = crate::output("ip", &["netns", "list"]);
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| chosen(name)) {
        let pids: Vec<u64> = crate::output("ip", &["netns", "pids", name])
            .lines()
            .filter_map(|pid| pid.parse().ok())
            .collect();
        if !pids.is_empty() {
            crate::run::signal("KILL", &pids);
        }
        let _ = run("ip", &["netns", "del", name]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_an_address_in_each_network_and_a_port_that_fits_the_kernel() {
        assert_eq!(address(Host::Hub, Net::Control), HUB);
        assert_eq!(address(Host::Worker(0), Net::Data), "10.77.1.2");
        for net in [Net::Control, Net::Data] {
            assert!(port(Host::Worker(99), net).len() < 16 && port(Host::Hub, net).len() < 16);
        }
    }
}
