//! The program and its libraries as they are mapped, and their unwind tables.

use std::ffi::{CStr, c_int, c_void};
use std::ops::Range;

/// How `.eh_frame_hdr` (Linux Standard Base 5.0, 10.6.2) tells where `.eh_frame` is, as all linkers write it: relative to the
/// pointer itself, in four bytes.
const VERSION_AND_ENCODING: [u8; 2] = [1, 0x1b];
const EH_FRAME_POINTER_AT: usize = 4;

/// A program or library in memory.
#[derive(Clone, Debug)]
pub(crate) struct LoadedModule {
    /// Its file.
    pub(crate) name: String,
    /// Its addresses in this process.
    pub(crate) range: Range<u64>,
    /// How far they are from those in the file.
    pub(crate) bias: u64,
    /// Its tables, if it has any.
    pub(crate) tables: Option<UnwindTables>,
}

/// Where a function's caller is found from any of its instructions. Both parts are mapped as long as the process lives: nothing is
/// ever unloaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnwindTables {
    /// `.eh_frame_hdr`.
    pub(crate) index: &'static [u8],
    /// From the beginning of `.eh_frame` to the end of its segment.
    pub(crate) frames: &'static [u8],
}

/// All that are mapped now.
pub(crate) fn loaded() -> Vec<LoadedModule> {
    let mut modules: Vec<LoadedModule> = Vec::new();
    // SAFETY: the callback takes what it is handed for a pointer to such a list, which lives during the call.
    unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut modules).cast()) };
    modules
}

extern "C" fn add(info: *mut libc::dl_phdr_info, _size: usize, modules: *mut c_void) -> c_int {
    // SAFETY: the loader hands out a struct that lives during this call, and the list is that of `loaded`.
    let (info, modules) = unsafe { (&*info, &mut *modules.cast::<Vec<LoadedModule>>()) };
    // SAFETY: the loader keeps them as long as the module is mapped.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let bias = info.dlpi_addr;
    let at = |header: &libc::Elf64_Phdr| {
        let start = bias.wrapping_add(header.p_vaddr);
        start..start.wrapping_add(header.p_memsz)
    };
    let segments: Vec<Range<u64>> = headers.iter().filter(|header| header.p_type == libc::PT_LOAD).map(at).collect();
    let ends = (segments.iter().map(|segment| segment.start).min(), segments.iter().map(|segment| segment.end).max());
    if let (Some(start), Some(end)) = ends {
        let index = headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME).map(at);
        // SAFETY: the segments of the module are mapped.
        let tables = index.and_then(|index| unsafe { tables(index, &segments) });
        modules.push(LoadedModule { name: name(info), range: start..end, bias, tables });
    }
    0
}

fn name(info: &libc::dl_phdr_info) -> String {
    // SAFETY: a name that is there ends with a zero.
    let name = if info.dlpi_name.is_null() { c"" } else { unsafe { CStr::from_ptr(info.dlpi_name) } };
    match name.to_str() {
        // The program itself has none.
        Ok("") => std::env::current_exe().map_or_else(|_| "program".to_owned(), |path| path.display().to_string()),
        _ => name.to_string_lossy().into_owned(),
    }
}

/// The tables whose index is there.
///
/// # Safety
/// The segments are mapped as long as the process lives, and can be read where the index and what it names lie.
unsafe fn tables(index: Range<u64>, segments: &[Range<u64>]) -> Option<UnwindTables> {
    let within = |address: u64| segments.iter().find(|segment| segment.contains(&address));
    let len = usize::try_from(index.end.min(within(index.start)?.end).checked_sub(index.start)?).ok()?;
    // SAFETY: it lies within a segment.
    let index_bytes = unsafe { std::slice::from_raw_parts(index.start as *const u8, len) };
    if index_bytes.get(..2)? != VERSION_AND_ENCODING {
        return None;
    }
    let pointer = index_bytes.get(EH_FRAME_POINTER_AT..)?.first_chunk::<4>()?;
    let start = (index.start + EH_FRAME_POINTER_AT as u64).checked_add_signed(i32::from_le_bytes(*pointer).into())?;
    let len = usize::try_from(within(start)?.end - start).ok()?;
    // SAFETY: it lies within a segment.
    Some(UnwindTables { index: index_bytes, frames: unsafe { std::slice::from_raw_parts(start as *const u8, len) } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_and_the_c_library_are_there_with_their_tables() {
        let modules = loaded();
        let of = |address: usize| modules.iter().find(|module| module.range.contains(&(address as u64)));
        let program = of(loaded as *const () as usize).expect("this code is mapped");
        let libc = of(libc::getpid as *const () as usize).expect("so is the C library");
        assert!(program.tables.is_some() && libc.tables.is_some(), "{program:?}");
        assert_eq!(program.name, std::env::current_exe().expect("it has a path").display().to_string());
        assert!(libc.name.contains("libc"), "{}", libc.name);
    }
}
