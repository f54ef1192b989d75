//! Which checkpoints go, over all lists; and what lies in the folders of those that stay.

use super::*;
use proptest::prelude::*;
use std::fs;

const HOUR: u64 = 3600;

fn at(hour: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(hour * HOUR)
}

/// Folders of the steps 1, 2 and so on, with the hours of their markers.
fn folders(hours: &[Option<u64>]) -> Vec<Found> {
    let found = |(step, hour): (u64, &Option<u64>)| Found {
        step: GlobalStep(step),
        committed: hour.map(at),
        files: BTreeMap::new(),
    };
    (1..).zip(hours).map(found).collect()
}

proptest! {
    #[test]
    fn what_goes_is_old_by_number_and_by_age_and_never_the_newest(
        hours in proptest::collection::vec(proptest::option::of(0_u64..50), 0..12),
        (keep, younger, now) in (0_u32..5, 0_u64..60, 0_u64..60),
    ) {
        let found = folders(&hours);
        let retention = Retention::new(keep, younger as f64);
        let gone = retention.outdated(&found, at(now));
        let committed: Vec<&Found> = found.iter().filter(|one| one.committed.is_some()).collect();
        let newest = committed.last().map(|one| one.step);
        for one in &found {
            let newer = committed.iter().filter(|other| other.step > one.step).count();
            let young = one.committed.is_some_and(|written| written + retention.younger > at(now));
            let goes = match one.committed {
                Some(_) => newer >= keep.max(1) as usize && !young,
                None => newest.is_some_and(|newest| one.step < newest),
            };
            prop_assert_eq!(gone.contains(&one.step), goes, "{:?}", one);
        }
        prop_assert!(newest.is_none_or(|newest| !gone.contains(&newest)));
    }
}

#[test]
fn hours_beyond_all_clocks_keep_everything() {
    let found = folders(&[Some(0), Some(1)]);
    assert!(Retention::new(1, f64::MAX).outdated(&found, at(1_000_000)).is_empty());
    assert_eq!(Retention::new(1, f64::NAN).younger, Duration::MAX);
}

#[tokio::test]
async fn leftovers_of_broken_writes_go_with_their_folder_and_from_those_that_stay() {
    let disk = tempfile::tempdir().unwrap();
    let folder = Folder::open(disk.path().join("a b").to_str().unwrap()).unwrap();
    for step in [1, 2, 3] {
        let folder = folder.step(GlobalStep(step));
        folder.put("g000000001-part-00000.safetensors", vec![1; 4]).await.unwrap();
        let path = disk.path().join(format!("a b/step-00000000{step}"));
        for leftover in ["g000000001-part-00001.safetensors#1", "g000000001-manifest.json#12"] {
            fs::write(path.join(leftover), "half").unwrap();
        }
        fs::write(path.join("notes.txt"), "mine").unwrap();
    }
    let count = |step: u64| {
        fs::read_dir(disk.path().join(format!("a b/step-00000000{step}"))).map_or(0, Iterator::count)
    };
    folder.step(GlobalStep(1)).remove_all().await.unwrap();
    folder.step(GlobalStep(2)).remove_unfinished().await.unwrap();
    assert_eq!((count(1), count(2), count(3)), (0, 2, 4));
    // A folder in which nothing is listed is there all the same, and goes.
    fs::create_dir(disk.path().join("a b/step-000000000")).unwrap();
    fs::write(disk.path().join("a b/step-000000000/part#3"), "half").unwrap();
    let found = list(&folder).await.unwrap();
    let steps: Vec<u64> = found.iter().map(|one| one.step.0).collect();
    assert_eq!(steps, [0, 2, 3]);
    folder.step(GlobalStep(0)).remove_all().await.unwrap();
    assert_eq!(folder.steps().await.unwrap(), [2, 3].map(GlobalStep));
}
