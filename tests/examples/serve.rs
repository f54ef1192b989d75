//! Serves a folder over plain HTTP with ranges, or an S3 bucket by moto (`s3` in place of a folder), until its input ends; prints the URL.
//! For `scripts/bench/read.sh`.

use e2e::net::{
    moto::Moto,
    web::{self, Skills},
};
use std::{io::Read, path::Path};

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_default();
    let mut rest = Vec::new();
    if folder == "s3" {
        let moto = Moto::start("bench")?;
        println!("http://{}", moto.address);
        std::io::stdin().read_to_end(&mut rest)?;
    } else {
        let listening = web::serve(Path::new(&folder), Skills::default())?;
        println!("{}", listening.url());
        std::io::stdin().read_to_end(&mut rest)?;
    }
    Ok(())
}
