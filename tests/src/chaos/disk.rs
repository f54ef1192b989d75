//! A disk of the run's output alone, that can be full and can stop to answer: ext4 in a file, behind a loop device. Needs root.

use super::failure::{Outcome, Why, run};
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

/// Its size. The file has holes, so it takes what is used.
const SIZE: u64 = 1 << 30;
/// What the names of the files begin with; the process follows.
const NAME: &str = "disk-of-";
/// What is written when no more of it is free in one piece.
const BLOCK: [u8; 4096] = [0; 4096];

/// A disk that is mounted. Dropping it takes it away.
pub(super) struct Disk {
    image: PathBuf,
    folder: PathBuf,
}

impl Disk {
    /// Mounts a new disk at `folder`, which has to be new; its file lies beside it.
    ///
    /// # Errors
    /// No loop device, no ext4, no right to mount.
    pub(super) fn mount(folder: &Path) -> Outcome<Self> {
        sweep();
        let image = folder.with_file_name(format!("{NAME}{}", std::process::id()));
        let (image_name, name) = (image.display().to_string(), folder.display().to_string());
        let made =
            File::create(&image).and_then(|file| file.set_len(SIZE)).and_then(|()| fs::create_dir(folder));
        made.map_err(|error| Why::new(&format!("making {image_name}"), &error))?;
        run("mkfs.ext4", &["-q", "-F", "-m", "0", &image_name])?;
        run("mount", &["-o", "loop", &image_name, &name])?;
        Ok(Self { image, folder: folder.into() })
    }

    /// From here on nothing more can be written.
    ///
    /// # Errors
    /// The disk can't be filled.
    pub(super) fn fill(&self) -> Outcome<()> {
        let name = self.filler().display().to_string();
        let free = crate::output("df", &["--output=avail", "-B1", &self.folder.display().to_string()]);
        let free = free.lines().last().unwrap_or_default().trim().to_owned();
        run("fallocate", &["-l", &free, &name]).or_else(|_| {
            // Others write as well, so there may be less by now.
            let less = free.parse::<u64>().unwrap_or_default().saturating_sub(32 << 20);
            run("fallocate", &["-l", &less.to_string(), &name])
        })?;
        let open = OpenOptions::new().append(true).create(true).open(self.filler());
        let mut file = open.map_err(|error| Why::new("filling the disk", &error))?;
        while file.write_all(&BLOCK).is_ok() {}
        Ok(())
    }

    /// There is space again.
    ///
    /// # Errors
    /// The filler can't be removed.
    pub(super) fn empty(&self) -> Outcome<()> {
        fs::remove_file(self.filler()).map_err(|error| Why::new("freeing the disk", &error))
    }

    /// From here on whoever writes waits.
    ///
    /// # Errors
    /// The kernel can't do it.
    pub(super) fn freeze(&self) -> Outcome<()> {
        run("fsfreeze", &["--freeze", &self.folder.display().to_string()])
    }

    /// Writing goes on.
    ///
    /// # Errors
    /// It was not frozen.
    pub(super) fn thaw(&self) -> Outcome<()> {
        run("fsfreeze", &["--unfreeze", &self.folder.display().to_string()])
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

/// Takes away what a harness that was killed has left mounted.
fn sweep() {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for (image, folder) in mounts.lines().filter_map(|line| line.split_once(' ')) {
        let pid = Path::new(image).file_name().and_then(|name| name.to_str()?.strip_prefix(NAME));
        if pid.and_then(|pid| pid.parse().ok()).is_some_and(|pid| !crate::run::alive(pid)) {
            let _ = run("umount", &["--lazy", folder.split(' ').next().unwrap_or_default()]);
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.thaw();
        let name = self.folder.display().to_string();
        let _ = run("umount", &[&name]).or_else(|_| run("umount", &["--lazy", &name]));
        let _ = fs::remove_file(&self.image);
    }
}
