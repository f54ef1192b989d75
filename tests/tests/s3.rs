//! A real S3 server (moto) behind a proxy with faults: `scripts/stores.sh` installs it and runs these.
#![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]

use e2e::{
    net::{
        moto::Moto,
        proxy::{Fault, Proxy},
    },
    program,
    run::{self, Told},
};
use object_store::{RetryConfig, aws::AmazonS3Builder, path::Path};
use proto::{Exit, config::StoreSection};
use shards::{
    object::Object,
    store::{Folder, Trouble},
};
use std::{fs, process::Command, sync::Arc, time::Duration};

const BUCKET: &str = "pairs";
const SIZE: usize = 18 << 20;

struct Place {
    proxy: Proxy,
    _moto: Moto,
}

fn place() -> Place {
    let moto = Moto::start(BUCKET).unwrap();
    Place { proxy: Proxy::start(moto.address).unwrap(), _moto: moto }
}

fn content() -> Vec<u8> {
    (0..SIZE as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect()
}

impl Place {
    /// A folder of the bucket, as `Folder::open_with` makes it from the environment, which a test can't set.
    fn folder(&self, spec: &StoreSection) -> Folder {
        self.folder_at("data", spec)
    }

    fn folder_at(&self, path: &str, spec: &StoreSection) -> Folder {
        let never = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let store = AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_endpoint(self.proxy.url())
            .with_allow_http(true)
            .with_access_key_id("key")
            .with_secret_access_key("secret")
            .with_retry(never)
            .build()
            .unwrap();
        Folder::on(Arc::new(store), Path::from(path), spec)
    }

    /// Runs `tandem` with the bucket's server in its environment.
    fn tandem(&self, arguments: &[&str]) -> Told {
        self.tandem_in(".", arguments)
    }

    fn tandem_in(&self, folder: &str, arguments: &[&str]) -> Told {
        let mut command = Command::new(program("tandem"));
        let given = [
            ("AWS_ENDPOINT_URL", self.proxy.url()),
            ("AWS_ACCESS_KEY_ID", "key".into()),
            ("AWS_SECRET_ACCESS_KEY", "secret".into()),
            ("AWS_REGION", "us-east-1".into()),
        ];
        command.current_dir(folder).args(arguments).envs(given).output().unwrap().into()
    }
}

fn spec() -> StoreSection {
    StoreSection { retries: 6, retry_seconds: 60.0, timeout: 5.0, ..StoreSection::default() }
}

async fn written(folder: &Folder) -> Object {
    folder.put("a.bin", content()).await.unwrap();
    let found = folder.objects().await.unwrap();
    assert_eq!(found.len(), 1);
    let (store, path) = folder.object("a.bin");
    Object { store, path, size: found[0].size, etag: found[0].e_tag.clone() }
}

#[tokio::test]
#[ignore = "needs moto: scripts/stores.sh"]
async fn whatever_happens_on_the_way_the_bytes_are_exact() {
    let place = place();
    let object = written(&place.folder(&spec())).await;
    assert!(object.etag.is_some());
    let whole = content();
    let ranges = [3..99, 1 << 20..(1 << 20) + 5, 2 << 20..SIZE as u64];
    for fault in [
        Fault::None,
        Fault::Status(503),
        Fault::Status(500),
        Fault::Refused,
        Fault::Cut(7),
        Fault::Short(7),
        Fault::Stalled(7),
    ] {
        println!("{fault:?}");
        let plan = fault.clone();
        place.proxy.plan(move |number, _| if number < 3 { plan.clone() } else { Fault::None });
        let read = object.ranges(&ranges).await.unwrap();
        for (range, bytes) in ranges.iter().zip(read) {
            assert!(bytes == whole[range.start as usize..range.end as usize], "{fault:?} {range:?}");
        }
    }
}

#[tokio::test]
#[ignore = "needs moto: scripts/stores.sh"]
async fn a_file_that_is_written_anew_is_refused() {
    let place = place();
    let folder = place.folder(&spec());
    let object = written(&folder).await;
    let mut other = content();
    other[0] ^= 1;
    folder.put("a.bin", other).await.unwrap();
    place.proxy.plan(|_, _| Fault::None);
    let error = object.ranges(&[0..10]).await.unwrap_err();
    assert_eq!((error.trouble, place.proxy.requests().len()), (Trouble::Changed, 1), "{error}");
    assert!(place.proxy.requests()[0].header("If-Match").is_some());
    folder.remove("a.bin").await.unwrap();
    let gone = object.ranges(&[0..10]).await.unwrap_err();
    assert!(gone.to_string().contains("it is not there"), "{gone}");
}

#[tokio::test]
#[ignore = "needs moto: scripts/stores.sh"]
async fn one_of_many_writes_what_was_absent_and_an_answer_that_was_lost_is_found() {
    let place = place();
    let folder = place.folder(&spec());
    assert!(folder.put_if_absent("claim", b"mine".to_vec()).await.unwrap());
    assert!(!folder.put_if_absent("claim", b"theirs".to_vec()).await.unwrap());
    assert_eq!(folder.get("claim").await.unwrap().unwrap(), "mine");
    let lose_first = |number: usize| if number == 0 { Fault::Lost } else { Fault::None };
    place.proxy.plan(move |number, _| lose_first(number));
    assert!(folder.put_if_absent("second", b"mine".to_vec()).await.unwrap(), "our own first try is there");
    place.proxy.plan(move |number, _| if number == 0 { Fault::Status(503) } else { Fault::None });
    assert!(!folder.put_if_absent("claim", b"theirs".to_vec()).await.unwrap(), "somebody else's is there");
    let claims = (0..8).map(|number: u8| {
        let folder = folder.clone();
        tokio::spawn(async move { folder.put_if_absent("third", vec![number]).await.unwrap() })
    });
    let mut won = 0;
    for claim in claims.collect::<Vec<_>>() {
        won += usize::from(claim.await.unwrap());
    }
    assert_eq!(won, 1);
}

#[tokio::test]
#[ignore = "needs moto: scripts/stores.sh"]
async fn large_files_go_up_in_parts_and_come_back() {
    let place = place();
    let folder = place.folder(&spec());
    let mut large = content();
    large.extend(content());
    place.proxy.plan(|_, _| Fault::None);
    folder.put("large.bin", large.clone()).await.unwrap();
    let puts = place.proxy.requests().iter().filter(|request| request.method() == "PUT").count();
    assert_eq!(puts, 3);
    assert!(folder.get("large.bin").await.unwrap().unwrap() == large);
    folder.put_paced("paced.bin", large.clone(), 1000.0).await.unwrap();
    assert!(folder.get("paced.bin").await.unwrap().unwrap() == large);
    assert_eq!(folder.files().await.unwrap(), ["large.bin", "paced.bin"]);
    folder.remove_all().await.unwrap();
    assert_eq!(folder.size("large.bin").await.unwrap(), None);
}

#[test]
#[ignore = "needs moto: scripts/stores.sh"]
fn a_dataset_is_made_indexed_and_verified_over_faults() {
    let place = place();
    let url = format!("s3://{BUCKET}/train");
    let every_third = |number: usize| match number % 3 {
        1 => Fault::Status(503),
        _ => Fault::None,
    };
    place.proxy.plan(move |number, _| every_third(number));
    let synth = ["data", "synth", "--pairs", "60", "--size", "32", "--group-rows", "10", "--out", &url];
    let made = place.tandem(&synth);
    assert_eq!(made.code, Some(0), "{made:?}");
    let indexed = place.tandem(&["data", "index", &url]);
    assert_eq!(indexed.code, Some(0), "{indexed:?}");
    assert!(indexed.out.contains(&format!("{url}/_tandem.index")), "{indexed:?}");
    let whole = place.tandem(&["data", "verify", &url]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    assert!(whole.out.contains("60 rows in 1 files, 6 row groups: every row can be used"), "{whole:?}");
    assert!(place.proxy.requests().len() > 10, "a third of them was refused");
    place.proxy.plan(|_, _| Fault::Status(403));
    let refused = place.tandem(&["data", "verify", &url]);
    assert_eq!(refused.code, Some(Exit::Data as i32), "{refused:?}");
    assert!(refused.err.contains(&url) && refused.err.contains("check the credentials"), "{refused:?}");
}

#[tokio::test]
#[ignore = "needs moto: scripts/stores.sh"]
async fn a_store_that_is_gone_ends_in_bounded_time() {
    let place = place();
    let folder = place.folder(&StoreSection { retries: 2, timeout: 1.0, ..spec() });
    let object = written(&folder).await;
    for fault in [Fault::Status(503), Fault::Refused, Fault::Stalled(3)] {
        place.proxy.plan(move |_, _| fault.clone());
        let read = tokio::time::timeout(Duration::from_secs(20), object.ranges(&[0..100])).await;
        let error = read.unwrap().unwrap_err();
        assert_eq!((error.trouble, error.exit()), (Trouble::Unreachable, Exit::Unavailable), "{error}");
        assert!(error.to_string().contains("data/a.bin, bytes 0..100: 3 tries in"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: scripts/stores.sh"]
async fn a_run_that_is_copied_to_a_bucket_goes_on_there_bit_for_bit_over_faults() {
    let (place, disk) = (place(), run::Place::new());
    let told = disk.run("whole", &["checkpoint.keep=9"], &[]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let copy = place.folder_at("run", &spec());
    for folder in ["checkpoints/step-000000008", "ledger", "."] {
        let below = if folder == "." { copy.clone() } else { copy.below(folder) };
        let files = fs::read_dir(disk.path(&format!("whole/{folder}"))).unwrap().map(Result::unwrap);
        for file in files.filter(|file| file.path().is_file()) {
            let name = file.file_name().into_string().unwrap();
            below.put(&name, fs::read(file.path()).unwrap()).await.unwrap();
        }
    }
    place.proxy.plan(|number, _| if number % 3 == 1 { Fault::Status(503) } else { Fault::None });
    let output = format!("s3://{BUCKET}/run");
    let sets = disk.arguments("whole", &[&format!("run.output={output}")]);
    let resumed = ["run", "--resume"].into_iter().chain(sets.iter().map(String::as_str));
    let told = place.tandem_in(&disk.path("."), &resumed.collect::<Vec<_>>());
    assert_eq!(told.code, Some(0), "{told:?}");
    let shown = place.tandem(&["checkpoint", "show", "--run", &output, "--step", "12", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    let parts = shown["manifest"]["parts"].as_array().unwrap();
    let digests: Vec<&str> = parts.iter().map(|part| part["sha256"].as_str().unwrap()).collect();
    assert_eq!(digests.len(), 2);
    assert_eq!(digests, disk.digests("whole", 12));
    for verb in [&["checkpoint", "verify", "--all"][..], &["data", "verify-ledger"]] {
        let told = place.tandem(&[verb, &["--run", &output]].concat());
        assert_eq!(told.code, Some(0), "{told:?}");
    }
}
