//! `fuzz-pack pack FOLDER FILE` and `fuzz-pack unpack FILE FOLDER`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["pack", folder, file] => fuzz_pack::pack_folder(Path::new(folder), Path::new(file)),
        ["unpack", file, folder] => fuzz_pack::unpack_file(Path::new(file), Path::new(folder)),
        _ => {
            eprintln!("fuzz-pack pack FOLDER FILE | unpack FILE FOLDER");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(count) => {
            println!("{count} inputs");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("fuzz-pack {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}
