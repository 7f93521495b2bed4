//! The names of functions.

use std::ffi::c_void;

/// A function and a line of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceLine {
    /// Its name as people write it, without the hash that the compiler puts behind it.
    pub(crate) name: String,
    /// Its name in the program.
    pub(crate) system_name: String,
    /// The file it is in; empty if nothing tells.
    pub(crate) file: String,
    /// The line in that, from 1; 0 if nothing tells.
    pub(crate) line: u32,
}

/// The functions that an address belongs to: the innermost of those that were inlined first, the one that holds them last.
pub(crate) fn resolve(address: u64) -> Vec<SourceLine> {
    let mut lines = Vec::new();
    // It takes what it is given for the address that a call returns to, and looks one byte before it.
    backtrace::resolve(address.wrapping_add(1) as *mut c_void, |symbol| {
        let Some(name) = symbol.name() else { return };
        let file = symbol.filename().map_or_else(String::new, |path| path.display().to_string());
        lines.push(SourceLine {
            name: format!("{name:#}"),
            system_name: name.as_str().unwrap_or_default().to_owned(),
            file,
            line: symbol.lineno().unwrap_or(0),
        });
    });
    lines
}

/// Gives back the memory that finding names has taken.
pub(crate) fn release() {
    backtrace::clear_symbol_cache();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_ours_is_found_by_its_name_and_file() {
        let lines = resolve(release as *const () as u64);
        let line = lines.last().expect("it is in the tables");
        assert_eq!(line.name, "profile::symbols::release");
        assert!(line.file.ends_with("src/profile/symbols.rs") && line.line > 0, "{line:?}");
        assert!(resolve(8).is_empty());
    }
}
