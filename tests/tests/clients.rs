//! Programs that know nothing of Tandem: a generic gRPC client that asks reflection what there is. Needs Python with grpcio:
//! `scripts/clients.sh` makes one, and runs this.
#![cfg(test)]

use e2e::run::{Place, Told, tandem};
use serde_json::Value;
use std::process::Command;

/// What the generic client says.
fn call(arguments: &[&str]) -> Told {
    let python = std::env::var("TANDEM_CLIENTS_PYTHON").unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/grpc/client.py");
    Command::new(python).arg(script).args(arguments).output().unwrap().into()
}

fn parsed(told: &Told) -> Value {
    serde_json::from_str(told.out.lines().next().unwrap_or_default()).unwrap_or_else(|_| panic!("{told:?}"))
}

#[test]
#[ignore = "needs Python with grpcio: scripts/clients.sh"]
fn a_generic_client_steers_a_run_by_reflection() {
    let place = Place::new();
    let (_run, url) = place.serve("out", &[]);
    let address = url.trim_start_matches("http://");
    let listed = parsed(&call(&[address, "-", "list", ""]));
    for service in ["tandem.v1.Operator", "tandem.v1.Membership", "grpc.health.v1.Health"] {
        assert!(listed.as_array().unwrap().contains(&service.into()), "{listed}");
    }
    let health = parsed(&call(&[address, "-", "grpc.health.v1.Health/Check", "{}"]));
    assert_eq!(health["status"], "SERVING");
    let status = parsed(&call(&[address, "-", "tandem.v1.Operator/Status", "{}"]));
    assert_eq!(status["state"], "waiting");
    let asked = r#"{"asked": {"id": "first", "by": "grpcurl"}, "max_workers": 3}"#;
    let scaled = parsed(&call(&[address, "-", "tandem.v1.Operator/Scale", asked]));
    assert_eq!(scaled["maxWorkers"], 3, "{scaled}");
    assert_eq!(
        parsed(&call(&[address, "-", "tandem.v1.Operator/Scale", asked])),
        scaled,
        "answered, not done twice"
    );
    let events = call(&[address, "-", "tandem.v1.Operator/Events", "{}"]);
    assert_eq!(events.out.matches("grpcurl asks: scale").count(), 1, "{events:?}");

    let refused =
        call(&[address, "-", "tandem.v1.Operator/Kick", r#"{"asked": {"id": "second"}, "worker": "7"}"#]);
    assert_eq!(refused.code, Some(1));
    let refused = parsed(&refused);
    assert_eq!((&refused["code"], &refused["reason"]), (&"NOT_FOUND".into(), &"NO_SUCH_WORKER".into()));
    assert_eq!((&refused["domain"], &refused["metadata"]["worker"]), (&"tandem.v1".into(), &"7".into()));
    let stale = r#"{"asked": {"id": "third", "expected_generation": "9"}}"#;
    let refused = parsed(&call(&[address, "-", "tandem.v1.Operator/Pause", stale]));
    assert_eq!(
        (&refused["reason"], &refused["metadata"]["expected"]),
        (&"UNEXPECTED_GENERATION".into(), &"9".into())
    );
}

#[test]
#[ignore = "needs Python with grpcio: scripts/clients.sh"]
fn a_generic_client_shows_certificate_and_token() {
    let place = Place::new();
    let certs = place.path("certs");
    assert_eq!(tandem(&["certs", "init", &certs]).code, Some(0));
    let credentials = format!("{certs}/coordinator");
    let (_run, url) = place.serve_more("out", &[], &["--credentials", &credentials]);
    let address = url.trim_start_matches("https://");
    let viewer = format!("{certs}/viewer");
    let status = parsed(&call(&[address, &viewer, "tandem.v1.Operator/Status", "{}"]));
    assert_eq!(status["state"], "waiting");
    let refused = parsed(&call(&[address, &viewer, "tandem.v1.Operator/Pause", "{}"]));
    assert_eq!(refused["code"], "PERMISSION_DENIED");
    assert_ne!(call(&[address, "-", "tandem.v1.Operator/Status", "{}"]).code, Some(0));
}
