//! Blocks that are torn, flipped, evicted and written by many at once.

use super::*;
use proptest::prelude::*;
use std::{
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

/// Names the folder to a process that is started as one of many.
const FOLDER_OF_MANY: &str = "TANDEM_TEST_CACHE";
/// Its limit: room for six of the ten blocks that many write.
const LIMIT_OF_MANY: u64 = 6 * (4_000 + block::HEADER as u64);

fn key(number: u64) -> Key {
    Key::new("s3://bucket/", &format!("{number}.parquet"), "\"etag\"", 1 << 30)
}

/// The content of a block, which tells it from all others.
fn content(key: u64, block: u64, length: usize) -> Vec<u8> {
    let digest = Sha256::digest([key.to_le_bytes(), block.to_le_bytes()].concat());
    digest.iter().copied().cycle().take(length).collect()
}

/// Bytes of all files below the folder but the account.
fn held(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => held(&entry.path()),
        Ok(found) if entry.file_name() != "used" => found.len(),
        _ => 0,
    });
    bytes.sum()
}

#[test]
fn a_block_is_kept_over_a_restart_and_told_from_all_others() {
    let disk = tempfile::tempdir().unwrap();
    let bytes = content(1, 7, 3_000);
    Cache::open(disk.path(), 1 << 20).unwrap().put(&key(1), 7, &bytes);
    let cache = Cache::open(disk.path(), 1 << 20).unwrap();
    assert_eq!(cache.get(&key(1), 7, 3_000).unwrap(), bytes);
    assert_eq!((cache.get(&key(1), 8, 3_000), cache.get(&key(2), 7, 3_000)), (None, None));
    for other in [
        Key::new("s3://other/", "1.parquet", "\"etag\"", 1 << 30),
        Key::new("s3://bucket/", "1.parquet", "\"anew\"", 1 << 30),
        Key::new("s3://bucket/", "1.parquet", "\"etag\"", 1 << 31),
        Key::new("s3://bucket/1", ".parquet", "\"etag\"", 1 << 30),
    ] {
        assert_eq!(cache.get(&other, 7, 3_000), None);
    }
    // A block that stands where another one belongs is not served either.
    fs::create_dir_all(cache.path(&key(2), 7).parent().unwrap()).unwrap();
    fs::copy(cache.path(&key(1), 7), cache.path(&key(2), 7)).unwrap();
    assert_eq!(cache.get(&key(2), 7, 3_000), None);
}

#[test]
fn no_torn_or_flipped_block_is_served_and_each_is_removed() {
    let disk = tempfile::tempdir().unwrap();
    let cache = Cache::open(disk.path(), 1 << 20).unwrap();
    let (key, bytes) = (key(1), content(1, 0, 200));
    cache.put(&key, 0, &bytes);
    let path = cache.path(&key, 0);
    let whole = fs::read(&path).unwrap();
    let broken = |damaged: &[u8]| {
        fs::write(&path, damaged).unwrap();
        assert_eq!(cache.get(&key, 0, 200), None, "{} bytes", damaged.len());
        assert!(!path.exists());
    };
    for length in 0..whole.len() {
        broken(&whole[..length]);
        broken(&[&whole[..length], &vec![0; whole.len() - length]].concat());
    }
    broken(&[whole.as_slice(), &[0]].concat());
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            broken(&flipped);
        }
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(cache.get(&key, 0, 200).unwrap(), bytes);
    fs::write(&path, &whole).unwrap();
    assert_eq!(cache.get(&key, 0, 201), None, "of another length");
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let disk = tempfile::tempdir().unwrap();
    let each = 1_000 + block::HEADER as u64;
    let cache = Cache::open(disk.path(), 10 * each).unwrap();
    let there = |block| cache.path(&key(0), block).exists();
    for block in 0..10 {
        cache.put(&key(0), block, &content(0, block, 1_000));
    }
    assert!(cache.get(&key(0), 0, 1_000).is_some() && cache.get(&key(0), 2, 1_000).is_some());
    cache.put(&key(0), 10, &content(0, 10, 1_000));
    let gone: Vec<u64> = (0..11).filter(|block| !there(*block)).collect();
    assert_eq!(gone, [1], "0 and 2 were used");
    cache.put(&key(0), 11, &content(0, 11, 1_000));
    assert!(there(0) && there(2) && !there(3));
    cache.put(&key(0), 12, &vec![0; 20_000]);
    assert!(!there(12) && there(0), "what never fits drives nothing out");
}

#[test]
fn a_count_that_is_lost_or_too_low_is_made_anew() {
    let disk = tempfile::tempdir().unwrap();
    let each = 1_000 + block::HEADER as u64;
    for block in 0..4 {
        Cache::open(disk.path(), 20 * each).unwrap().put(&key(0), block, &content(0, block, 1_000));
    }
    for number in [&b""[..], b"abc", &0_u64.to_le_bytes(), &u64::MAX.to_le_bytes()] {
        fs::write(disk.path().join(FOLDER).join("used"), number).unwrap();
        let cache = Cache::open(disk.path(), 3 * each).unwrap();
        cache.put(&key(0), 9, &content(0, 9, 1_000));
        assert!(held(disk.path()) <= 3 * each);
        assert!(cache.get(&key(0), 9, 1_000).is_some());
    }
}

#[test]
fn where_nothing_can_be_written_nothing_is_kept_and_nothing_fails() {
    let disk = tempfile::tempdir().unwrap();
    fs::write(disk.path().join("file"), "").unwrap();
    assert!(Cache::shared(disk.path().join("file/cache").to_str().unwrap(), 1.0).is_none());
    let cache = Cache::open(disk.path(), 1 << 20).unwrap();
    fs::remove_dir_all(disk.path().join(FOLDER)).unwrap();
    cache.put(&key(0), 0, b"x");
    assert!(cache.full.load(Ordering::Relaxed) && cache.get(&key(0), 0, 1).is_none());
    fs::create_dir_all(disk.path().join(FOLDER)).unwrap();
    cache.put(&key(0), 0, b"x");
    assert_eq!(held(disk.path()), 0, "it was told once, and not tried again");
}

#[test]
fn one_process_has_one_cache_of_a_folder() {
    let disk = tempfile::tempdir().unwrap();
    let folder = disk.path().to_str().unwrap();
    let (one, two) = (Cache::shared(folder, 1.0).unwrap(), Cache::shared(folder, 1.0).unwrap());
    assert!(Arc::ptr_eq(&one, &two));
}

/// Puts and gets ten blocks over and over; each get is right or nothing, and the folder stays below its limit.
fn be_one_of_many(cache: &Cache, folder: &Path, rounds: u64, seed: u64) -> u64 {
    let mut hits = 0;
    for round in 0..rounds {
        let block = (round * 7 + seed * 3 + round / 11) % 10;
        let bytes = content(5, block, 4_000);
        match cache.get(&key(5), block, 4_000) {
            Some(found) => {
                assert_eq!(found, bytes);
                hits += 1;
            }
            None => cache.put(&key(5), block, &bytes),
        }
        if round % 16 == 0 {
            // Nobody reserves or renames meanwhile.
            let account = File::open(cache.folder.join("used")).unwrap();
            account.lock().unwrap();
            assert!(held(folder) <= LIMIT_OF_MANY);
        }
    }
    hits
}

#[test]
fn threads_with_caches_of_their_own_share_a_folder() {
    let disk = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for seed in 0..4 {
            let folder = disk.path();
            scope.spawn(move || {
                let cache = Cache::open(folder, LIMIT_OF_MANY).unwrap();
                assert!(be_one_of_many(&cache, folder, 300, seed) > 0);
                assert!(!cache.full.load(Ordering::Relaxed));
            });
        }
    });
    assert!(held(disk.path()) <= LIMIT_OF_MANY && held(disk.path()) > 0);
}

#[test]
#[ignore = "the body of a process that the next test starts"]
fn one_of_many() {
    let folder = PathBuf::from(std::env::var_os(FOLDER_OF_MANY).unwrap());
    let cache = Cache::open(&folder, LIMIT_OF_MANY).unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        be_one_of_many(&cache, &folder, 100, std::process::id().into());
        fs::write(folder.join(format!("round-{}", std::process::id())), "").unwrap();
    }
}

#[test]
fn processes_that_are_killed_leave_a_folder_that_others_use() {
    let disk = tempfile::tempdir().unwrap();
    let (blocks, rounds) = (disk.path().join("a"), disk.path().join("a"));
    fs::create_dir_all(&blocks).unwrap();
    let start = || -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let command = command.args(["--exact", "cache::tests::one_of_many", "--ignored"]);
        command.env(FOLDER_OF_MANY, &blocks).spawn().unwrap()
    };
    let mut children: Vec<Child> = (0..3).map(|_| start()).collect();
    let patience = Instant::now();
    for child in &mut children {
        let round = rounds.join(format!("round-{}", child.id()));
        while !round.exists() {
            assert!(child.try_wait().unwrap().is_none() && patience.elapsed() < Duration::from_secs(50));
            thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let cache = Cache::open(&blocks, LIMIT_OF_MANY).unwrap();
    be_one_of_many(&cache, &blocks.join(FOLDER), 200, 1);
    assert!(held(&blocks.join(FOLDER)) <= LIMIT_OF_MANY);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_done_the_limit_holds_and_what_is_served_is_right(
        limit in 100_u64..9_000,
        deeds in proptest::collection::vec((0_u64..3, 0_u64..6, 0_usize..1_500, 0_u8..4), 1..60),
    ) {
        let disk = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(disk.path(), limit).unwrap();
        let mut lengths = HashMap::new();
        for (file, block, length, deed) in deeds {
            let length = *lengths.entry((file, block)).or_insert(length);
            match deed {
                0 => cache = Cache::open(disk.path(), limit).unwrap(),
                1 => {
                    let found = cache.get(&key(file), block, length as u64);
                    prop_assert!(found.is_none_or(|found| found == content(file, block, length)));
                }
                _ => {
                    cache.put(&key(file), block, &content(file, block, length));
                    let fits = (length + block::HEADER) as u64 <= limit;
                    prop_assert_eq!(cache.get(&key(file), block, length as u64).is_some(), fits);
                }
            }
            prop_assert!(held(disk.path()) <= limit);
        }
    }
}
