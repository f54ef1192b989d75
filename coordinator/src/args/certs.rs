//! What is typed to make credentials.

use clap::Subcommand;
use std::path::PathBuf;

/// What `tandem certs` can do.
#[derive(Debug, Subcommand)]
pub enum Certs {
    /// Makes a CA, and folders of credentials for a coordinator and the three roles: for a trial or a small cluster
    #[command(
        after_help = "FOLDER gets ca.crt and ca.key (keep that one away from the cluster), and the folders coordinator, worker, operator and viewer. Each holds ca.crt, tls.crt, tls.key and token; the coordinator's also tokens, with a line for every token that it takes. Files that are replaced while programs run are taken up within seconds.\n\nExamples:\n  tandem certs init certs --host node1.cluster --host 10.0.0.1\n  tandem coordinator --config run.toml --credentials certs/coordinator --set cluster.listen=0.0.0.0:7070\n  tandem-worker --coordinator https://node1.cluster:7070 --credentials certs/worker\n  tandem status --coordinator https://node1.cluster:7070 --credentials certs/viewer"
    )]
    Init(Init),
}

/// Arguments of `tandem certs init`.
#[derive(Debug, clap::Args)]
pub struct Init {
    /// The folder that is made
    pub folder: PathBuf,
    /// Name or address at which the coordinator is reached; may be repeated; localhost and 127.0.0.1 are always among them
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Days after which they are worth nothing
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
}
