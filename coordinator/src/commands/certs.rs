//! `tandem certs`: credentials for a trial.

use super::say;
use crate::{Result, args::certs::Certs};
use std::io::Write;

/// Names under which every coordinator is reached on its own machine.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Does what was asked for.
pub(super) fn act(verb: &Certs, out: &mut impl Write) -> Result<()> {
    let Certs::Init(init) = verb;
    let mut hosts = init.hosts.clone();
    hosts.extend(LOCAL.map(String::from).into_iter().filter(|local| !init.hosts.contains(local)));
    access::issue::init(&init.folder, &hosts, init.days)?;
    let folder = init.folder.display();
    let text = format!(
        "{folder} holds a CA and the folders coordinator, worker, operator and viewer, good for {} days; the coordinator is {}\n",
        init.days,
        hosts.join(", ")
    );
    say(out, &text)
}
