//! Exit codes of `tandem` and `tandem-worker`, after the BSD `sysexits` where one fits. Launch scripts act on them.

/// Why a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// All that was asked for is done.
    Done = 0,
    /// The run can't go on by itself: a loss that is not finite, ranks whose states drifted apart, a defect of Tandem. The message says
    /// what to do; where it says nothing, report it.
    Internal = 70,
    /// The command line or the configuration is wrong: mend it and start again.
    Usage = 2,
    /// The data, a checkpoint or a weights file is missing or broken: mend it and start again.
    Data = 65,
    /// The coordinator or an object store can't be reached, or a port is taken: try again when it is there.
    Unavailable = 69,
    /// Writing failed: the disk is full, or the store refuses.
    Output = 74,
    /// Stopped before the end by request, after a committed checkpoint: start again with `--resume`.
    Stopped = 75,
    /// A worker was lost: start again with `--resume`.
    Lost = 76,
    /// Another coordinator has taken over the run: do not start this one again.
    Fenced = 77,
    /// The device that was asked for is not there.
    Device = 78,
}

impl Exit {
    /// The code as the operating system gets it.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The reason that a child's exit code stands for, where it is one of ours.
    pub fn from_code(code: i32) -> Option<Self> {
        let all = [
            Self::Done,
            Self::Internal,
            Self::Usage,
            Self::Data,
            Self::Unavailable,
            Self::Output,
            Self::Stopped,
            Self::Lost,
            Self::Fenced,
            Self::Device,
        ];
        all.into_iter().find(|exit| i32::from(exit.code()) == code)
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
