//! `tandem data order`: who reads what in a step.

use super::{super::say, knobs};
use crate::{Error, Result, args::Order as Arguments};
use proto::{GlobalStep, Rank, WorldSize};
use shards::{
    manifest::Manifest,
    order::{Order, Slot, lanes_of, order_spec},
};
use std::io::Write;

/// Prints the pairs of one step in slot order, by rank.
///
/// # Errors
/// A manifest that can't be read, and a world with more ranks than lanes.
pub(super) async fn order(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let config = knobs(&arguments.manifest, &arguments.sets)?;
    let manifest = if arguments.manifest.ends_with(".index") {
        Manifest::load(&arguments.manifest).await?
    } else {
        Manifest::open(&config.data, &config.store).await?
    };
    let order = Order::of(&manifest, order_spec(&config));
    order.check()?;
    let lanes = config.data.lanes;
    if !(1..=lanes).contains(&arguments.world) {
        let reason = format!("give 1 to data.lanes = {lanes}: each rank reads whole lanes");
        let value = arguments.world.to_string();
        return Err(Error::Data(shards::Error::Value { name: "--world", value, reason }));
    }
    let world = WorldSize(arguments.world);
    say(out, "slot      rank  lane  epoch  row           row group and row, file\n")?;
    let mut slots = 0_u64..;
    for rank in (0..arguments.world).map(Rank) {
        for lane in lanes_of(rank, world, lanes).map(proto::LaneId) {
            let walk = order.walk(lane, GlobalStep(arguments.step)).take(order.spec().per_lane() as usize);
            for (number, slot) in slots.by_ref().zip(walk) {
                say(out, &line(number, rank, &slot, &manifest))?;
            }
        }
    }
    Ok(())
}

fn line(number: u64, rank: Rank, slot: &Slot, manifest: &Manifest) -> String {
    let file = manifest.file_of(slot.row_group).map(|at| &manifest.files()[at]);
    let group = file.map_or(0, |file| slot.row_group.0 - file.groups.start);
    let name = file.map(|file| manifest.name(file)).unwrap_or_default();
    let (rank, lane) = (rank.to_string(), slot.lane.to_string());
    format!(
        "{number:<8}  {rank:<4}  {lane:<4}  {:<5}  {:<12}  {group}:{} {name}\n",
        slot.epoch, slot.row, slot.row_in_group
    )
}
