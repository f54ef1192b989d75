//! Tests that need torch's random generator for themselves: it is the process's, and every test thread draws from it.

use std::process::Command;

/// Runs `test` in a process of its own, which runs the test of this full name and nothing else. Its tensors are small: a second
/// thread would only wait.
pub(crate) fn alone(name: &str, test: impl FnOnce()) {
    const MARK: &str = "TANDEM_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return test();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command
        .args([name, "--exact", "--nocapture"])
        .env(MARK, "1")
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("1 passed"), "no test is called {name}:\n{told}");
}
