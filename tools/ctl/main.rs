//! The `coracle-ctl` binary: arguments, output, exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle_ctl::main()
}
