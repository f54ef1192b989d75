//! A simulated coordinator: the real one, on the simulated network.

use super::net::accept;
use super::world::{PORT, World};
use coordinator::start::{Lead, lead};
use coordinator::{record, server};
use std::future::pending;

/// Leads the run while it is this host's turn; ends with the run, or when another one has taken over.
pub(super) async fn serve(world: World, number: usize) {
    if world.record().hub != number || world.record().done {
        return;
    }
    let url = format!("http://hub-{number}:{PORT}");
    let led = lead(&world.output, &world.config, "f00d".into(), (&url, world.disk.path()), true).await;
    let Lead { control, journal, adopted, .. } = match led {
        Ok(Some(lead)) => lead,
        Ok(None) => {
            world.tell(format!("hub-{number} finds that all is done"));
            world.record().done = true;
            return;
        }
        Err(error) => return world.object(format!("hub-{number} can't lead: {error}")),
    };
    world.tell(format!("hub-{number} leads, with {} workers of the one before", adopted.len()));
    let incoming = accept(PORT).await.unwrap();
    let (served, tidied) = (control.clone(), control.clone());
    tokio::spawn(async move { record::tidy(&tidied).await });
    let server = tokio::spawn(async move { server::serve_on(incoming, served, None, None, pending()).await });
    match record::keep(&control, &journal).await {
        Ok(()) => {
            world.tell(format!("hub-{number} ends: {}", control.look(|it| it.reason())));
            let done = control.look(|it| it.newest_committed()).0 == world.config.optimizer.steps;
            if done {
                world.record().done = true;
            } else {
                world.object(format!(
                    "the run has ended before its last step: {}",
                    control.look(|it| it.reason())
                ));
            }
            // What the workers still ask gets its answer.
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        }
        Err(error) => world.tell(format!("hub-{number} ends: {error}")),
    }
    server.abort();
}
