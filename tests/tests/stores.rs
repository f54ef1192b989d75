//! Ranged reads from a plain web server, over a proxy that does what networks do: exact bytes, or an error that names them.
#![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]

use e2e::net::{
    http::Message,
    proxy::{Fault, Proxy},
    web::{self, Skills},
};
use proto::{Exit, config::StoreSection};
use shards::{
    object::Object,
    store::{Folder, StoreError, Trouble},
};
use std::{
    fs,
    ops::Range,
    path::Path,
    time::{Duration, Instant},
};

/// Bytes of the file: three parts.
const SIZE: u64 = 20 << 20;
const RANGES: [Range<u64>; 4] = [0..10, 1_000_000..1_500_000, 7 << 20..17 << 20, SIZE - 70_000..SIZE];

/// Byte `at` of the file with this number.
fn byte(file: u64, at: u64) -> u8 {
    ((at + file).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8
}

fn content(file: u64, range: Range<u64>) -> Vec<u8> {
    range.map(|at| byte(file, at)).collect()
}

struct Place {
    disk: tempfile::TempDir,
    _web: e2e::net::http::Listening,
    proxy: Proxy,
}

/// A server with one file, behind a proxy.
fn place(skills: Skills) -> Place {
    let disk = tempfile::tempdir().unwrap();
    fs::create_dir(disk.path().join("data")).unwrap();
    fs::write(disk.path().join("data/a.bin"), content(0, 0..SIZE)).unwrap();
    let web = web::serve(disk.path(), skills).unwrap();
    let proxy = Proxy::start(web.address).unwrap();
    Place { disk, _web: web, proxy }
}

/// Knobs for tests: few seconds, no pauses that matter.
fn spec() -> StoreSection {
    StoreSection { retries: 4, retry_seconds: 20.0, timeout: 5.0, ..StoreSection::default() }
}

impl Place {
    fn url(&self) -> String {
        format!("{}/data/a.bin", self.proxy.url())
    }

    /// The file as a reader of a dataset sees it.
    async fn object(&self, spec: &StoreSection) -> Object {
        let folder = Folder::open_with(&self.url(), spec).unwrap();
        let meta = folder.meta("").await.unwrap().unwrap();
        let (store, path) = folder.object("");
        Object { store, path, size: meta.size, etag: meta.e_tag }
    }

    /// Reads the ranges under a plan of faults and checks every byte.
    async fn read(&self, object: &Object, plan: impl Fn(usize, &Message) -> Fault + Send + Sync + 'static) {
        self.proxy.plan(plan);
        let read = object.ranges(&RANGES).await.unwrap();
        for (range, bytes) in RANGES.into_iter().zip(read) {
            assert!(bytes == content(0, range.clone()), "{range:?}");
        }
    }

    /// Reads under faults that do not end.
    async fn fail(&self, object: &Object, fault: Fault) -> StoreError {
        self.proxy.plan(move |_, _| fault.clone());
        object.ranges(&[100..200]).await.unwrap_err()
    }
}

#[tokio::test]
async fn neighbours_come_in_one_request_and_large_ranges_in_parts() {
    let place = place(Skills::default());
    let object = place.object(&spec()).await;
    let count = async |ranges: &[Range<u64>], object: &Object| {
        place.proxy.plan(|_, _| Fault::None);
        object.ranges(ranges).await.unwrap();
        place.proxy.requests().len()
    };
    assert_eq!(count(&[0..10, 500_000..500_010, 1_000_000..1_000_010], &object).await, 1);
    assert_eq!(count(&[0..10, 5_000_000..5_000_010], &object).await, 2);
    assert_eq!(count(&[0..SIZE], &object).await, 3);
    assert_eq!(count(&[5..5], &object).await, 0);
    let apart = place.object(&StoreSection { gap_kib: 0, ..spec() }).await;
    assert_eq!(count(&[0..10, 11..20, 20..30], &apart).await, 2);
}

#[tokio::test]
async fn whatever_happens_on_the_way_the_bytes_are_exact() {
    let place = place(Skills::default());
    let patient = StoreSection { retries: 20, retry_seconds: 60.0, timeout: 2.0, ..spec() };
    let object = place.object(&patient).await;
    place.read(&object, |_, _| Fault::None).await;
    for fault in [
        Fault::Status(503),
        Fault::Status(500),
        Fault::Status(429),
        Fault::Refused,
        Fault::Cut(0),
        Fault::Cut(5),
        Fault::Cut(300_000),
        Fault::Short(0),
        Fault::Short(9),
        Fault::Short(400_000),
        Fault::Stalled(0),
        Fault::Stalled(5),
        Fault::Slow(Duration::from_secs(3)),
    ] {
        println!("{fault:?}");
        let plan = fault.clone();
        place.read(&object, move |number, _| if number < 4 { plan.clone() } else { Fault::None }).await;
        assert!(place.proxy.requests().len() > 4, "{fault:?} was not met");
    }
}

#[tokio::test]
async fn what_does_not_pass_ends_in_bounded_time_with_all_names() {
    let place = place(Skills::default());
    let object = place.object(&StoreSection { retries: 2, timeout: 0.5, ..spec() }).await;
    for (fault, cause) in [
        (Fault::Status(503), "503"),
        (Fault::Refused, "connection closed"),
        (Fault::Cut(50), "end of file before message length reached"),
        (Fault::Short(99), "a body of 99 bytes for 100"),
        (Fault::Stalled(50), "no whole answer in 0.5 s"),
    ] {
        let start = Instant::now();
        let error = place.fail(&object, fault).await;
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        assert_eq!((error.trouble, error.exit()), (Trouble::Unreachable, Exit::Unavailable));
        assert_eq!(place.proxy.requests().len(), 3);
        let text = error.to_string();
        let named = format!("{}, bytes 100..200", place.url());
        for part in [&named, "3 tries in ", cause, "store.retries"] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }
    let hasty = place.object(&StoreSection { retries: 1_000, retry_seconds: 1.0, ..spec() }).await;
    let start = Instant::now();
    let error = place.fail(&hasty, Fault::Status(500)).await.to_string();
    assert!(start.elapsed() < Duration::from_secs(2), "{error}");
}

#[tokio::test]
async fn an_answer_is_not_asked_for_again() {
    let place = place(Skills::default());
    let object = place.object(&spec()).await;
    for (status, told) in [(403, "check the credentials"), (404, "it is not there"), (400, "400")] {
        let error = place.fail(&object, Fault::Status(status)).await;
        assert_eq!(place.proxy.requests().len(), 1, "{status}");
        assert_eq!((error.trouble, error.exit()), (Trouble::Refused, Exit::Data));
        assert!(error.to_string().contains(told) && error.to_string().contains("a.bin"), "{error}");
    }
}

#[tokio::test]
async fn another_file_in_the_place_of_one_is_refused() {
    let place = place(Skills::default());
    let object = place.object(&spec()).await;
    let error = place.fail(&object, Fault::Etag("\"other\"")).await;
    assert_eq!(error.trouble, Trouble::Changed);
    assert!(error.to_string().contains("its etag is \"other\""), "{error}");
    fs::write(place.disk.path().join("data/a.bin"), content(1, 0..SIZE)).unwrap();
    let error = place.fail(&object, Fault::None).await;
    assert_eq!((error.trouble, place.proxy.requests().len()), (Trouble::Changed, 1));
    assert!(error.to_string().contains("index the dataset anew"), "{error}");
}

#[tokio::test]
async fn a_file_that_shrank_is_refused_without_etags_too() {
    let place = place(Skills { etags: false, ..Skills::default() });
    let object = place.object(&spec()).await;
    assert_eq!(object.etag, None);
    place.read(&object, |_, _| Fault::None).await;
    fs::write(place.disk.path().join("data/a.bin"), content(0, 0..1_000)).unwrap();
    let error = place.fail(&object, Fault::None).await;
    assert_eq!(error.trouble, Trouble::Changed);
    assert!(error.to_string().contains(&format!("it has 1000 bytes, it had {SIZE}")), "{error}");
}

#[tokio::test]
async fn no_more_requests_are_open_than_allowed() {
    let place = place(Skills::default());
    for requests in [1, 3] {
        let object = place.object(&StoreSection { requests, gap_kib: 0, ..spec() }).await;
        place.proxy.plan(|_, _| Fault::Slow(Duration::from_millis(30)));
        let reads = (0..4_u64).map(|reader| {
            let object = object.clone();
            tokio::spawn(async move {
                let start = |number: u64| (reader * 6 + number) * 800_000;
                let ranges: Vec<_> = (0..6).map(|number| start(number)..start(number) + 10).collect();
                let read = object.ranges(&ranges).await.unwrap();
                assert_eq!(read[1], content(0, ranges[1].clone()));
            })
        });
        for read in reads.collect::<Vec<_>>() {
            read.await.unwrap();
        }
        assert_eq!((place.proxy.most(), place.proxy.requests().len()), (requests as usize, 24));
    }
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_told_and_whole_small_files_come() {
    let place = place(Skills { ranges: false, ..Skills::default() });
    let object = place.object(&spec()).await;
    let error = place.fail(&object, Fault::None).await;
    assert_eq!(error.trouble, Trouble::Refused);
    assert!(error.to_string().contains("ignores the Range header"), "{error}");
    fs::write(place.disk.path().join("data/words.txt"), "one\ntwo").unwrap();
    let folder = Folder::open(&format!("{}/data", place.proxy.url())).unwrap();
    assert_eq!(folder.get("words.txt").await.unwrap().unwrap(), "one\ntwo");
    assert_eq!(folder.get("none.txt").await.unwrap(), None);
}

#[tokio::test]
async fn a_web_folder_that_does_not_list_says_what_to_do_and_a_file_is_found() {
    for pages in [true, false] {
        let place = place(Skills { pages, ..Skills::default() });
        let folder = Folder::open_with(&format!("{}/data", place.proxy.url()), &spec()).unwrap();
        let error = folder.objects().await.unwrap_err();
        assert_eq!(error.trouble, Trouble::Unlisted);
        let text = error.to_string();
        assert!(text.contains("one by one") && text.contains("tandem data index"), "{text}");
        assert_eq!(folder.meta("a.bin").await.unwrap().unwrap().size, SIZE);
        let file = Folder::open_with(&place.url(), &spec()).unwrap();
        let found = file.objects().await.unwrap();
        assert_eq!((found.len(), found[0].size, file.relative(&found[0])), (1, SIZE, String::new()));
    }
}

#[tokio::test]
async fn a_signed_url_keeps_its_query_and_needs_no_head() {
    let place = place(Skills { head: false, ..Skills::default() });
    let signed = format!("{}?X-Amz-Signature=secret&part=1", place.url());
    place.proxy.plan(|_, request| {
        if request.target().ends_with("a.bin?X-Amz-Signature=secret&part=1") {
            Fault::None
        } else {
            Fault::Status(403)
        }
    });
    let folder = Folder::open_with(&signed, &spec()).unwrap();
    assert_eq!(folder.objects().await.unwrap()[0].size, SIZE);
    assert!(folder.get("").await.unwrap().unwrap() == content(0, 0..SIZE));
    let error = Folder::open_with(&format!("{signed}2"), &spec()).unwrap().get("").await.unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_cache_saves_requests_over_a_restart_and_serves_no_torn_block() {
    let place = place(Skills::default());
    let cache = tempfile::tempdir().unwrap();
    let with_cache = StoreSection { cache: cache.path().display().to_string(), cache_gib: 1.0, ..spec() };
    let object = place.object(&with_cache).await;
    place.read(&object, |_, _| Fault::None).await;
    assert!(!place.proxy.requests().is_empty());
    place.read(&object, |_, _| Fault::Status(503)).await;
    assert_eq!(place.proxy.requests().len(), 0);
    drop(object);
    place.proxy.plan(|_, _| Fault::None);
    let again = place.object(&with_cache).await;
    place.read(&again, |_, _| Fault::Status(503)).await;
    let mut blocks = Vec::new();
    files(cache.path(), &mut blocks);
    assert!(blocks.len() > 12);
    for (number, block) in blocks.iter().enumerate() {
        let bytes = fs::read(block).unwrap();
        fs::write(block, &bytes[..bytes.len() * (number % 3) / 3]).unwrap();
    }
    place.read(&again, |_, _| Fault::None).await;
    assert!(!place.proxy.requests().is_empty());
    place.read(&again, |_, _| Fault::Status(503)).await;
    // The same place with another content is another file.
    fs::write(place.disk.path().join("data/a.bin"), content(1, 0..SIZE)).unwrap();
    place.proxy.plan(|_, _| Fault::None);
    let anew = place.object(&with_cache).await;
    assert_eq!(anew.ranges(&[3..9]).await.unwrap()[0], content(1, 3..9));
}

/// The blocks below a folder.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if !path.ends_with("used") {
            found.push(path);
        }
    }
}
