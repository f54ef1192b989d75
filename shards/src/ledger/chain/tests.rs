//! Chains in a store: whole, cut, and with one bit or byte that is not what it was.

use super::*;
use crate::ledger::{segment_name, tests::plain};
use object_store::memory::InMemory;
use proto::Generation;
use std::sync::Arc;

/// Writes the segments as a chain, and returns its links.
async fn written(folder: &Folder, segments: Vec<Segment>) -> Vec<Part> {
    let mut links: Vec<Part> = Vec::new();
    for mut segment in segments {
        segment.header.previous = links.last().cloned();
        let bytes = segment.encode().unwrap();
        let name = segment_name(segment.header.from, segment.header.to, Generation(1));
        links.push(Part { name: name.clone(), size: bytes.len() as u64, sha256: digest(&bytes) });
        folder.put(&name, bytes).await.unwrap();
    }
    links
}

fn memory() -> Folder {
    Folder::new(Arc::new(InMemory::new()), "ledger".into())
}

#[tokio::test]
async fn a_chain_is_followed_to_its_first_segment() {
    let folder = memory();
    let links = written(&folder, plain().segments()).await;
    let mut steps = Vec::new();
    let chain = trace(&folder, &links[2], GlobalStep(12), |step| steps.push(step.0)).await.unwrap();
    assert_eq!((chain.links, chain.broken, steps), (links.clone(), vec![], vec![9, 5, 0]));
    let chain = trace(&folder, &links[1], GlobalStep(12), |_| ()).await.unwrap();
    assert!(chain.broken[0].to_string().contains("ends with step 9, the checkpoint is of step 12"));
    folder.remove(&links[1].name).await.unwrap();
    let chain = trace(&folder, &links[2], GlobalStep(12), |_| ()).await.unwrap();
    assert_eq!(chain.links, links[2..]);
    assert_eq!(chain.broken[0].to_string(), format!("segment {}: it is missing", links[1].name));
}

#[tokio::test]
async fn a_flipped_or_missing_byte_anywhere_names_the_segment() {
    let folder = memory();
    let links = written(&folder, plain().segments()).await;
    let whole = folder.get(&links[1].name).await.unwrap().unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 1 << (at % 8);
        // Also without the chain's digest in front of it: no flip is a panic.
        let _ = Segment::decode(&flipped);
        for bad in [flipped, whole[..at].to_vec()] {
            folder.put(&links[1].name, bad).await.unwrap();
            let chain = trace(&folder, &links[2], GlobalStep(12), |_| ()).await.unwrap();
            let [Finding::Segment { segment, .. }] = &chain.broken[..] else {
                panic!("byte {at}: {chain:?}")
            };
            assert_eq!((segment, chain.links.len()), (&links[1].name, 1));
        }
    }
    let outside = Part { name: "../x".into(), ..links[0].clone() };
    assert!(read(&folder, &outside).await.unwrap().is_err());
}
