//! From registers and a copy of a stack to the functions that were under way.

use framehop::{
    CacheNative, ExplicitModuleSectionInfo, MayAllocateDuringUnwind, Module, Unwinder as _, UnwinderNative,
};

use crate::modules::LoadedModule;
use crate::registers::Registers;

/// Most functions of a stack. Those at its root are left out of a deeper one.
const FRAMES_COUNT_MAX: usize = 256;

/// Unwinds by the tables of the modules that were mapped when it was made.
pub(crate) struct Unwinder {
    unwinder: UnwinderNative<&'static [u8], MayAllocateDuringUnwind>,
    cache: CacheNative<MayAllocateDuringUnwind>,
    modules: Vec<LoadedModule>,
}

impl Unwinder {
    pub(crate) fn new(modules: Vec<LoadedModule>) -> Unwinder {
        let mut unwinder = UnwinderNative::new();
        for module in &modules {
            unwinder.add_module(framehop_module(module));
        }
        Unwinder { unwinder, cache: CacheNative::new(), modules }
    }

    /// Addresses within the instructions that were under way, the innermost first.
    pub(crate) fn unwind(&mut self, registers: Registers, stack: &[u8]) -> Vec<u64> {
        let modules = &self.modules;
        let mut read = |address: u64| read_word(registers.sp, stack, address).ok_or(());
        let mut frames = self.unwinder.iter_frames(registers.pc, registers.to_unwind(), &mut self.cache, &mut read);
        let mut addresses = Vec::new();
        // An error is the end of what can be known: the copy ends, or a function has no table.
        while let Ok(Some(frame)) = frames.next() {
            let address = frame.address_for_lookup();
            let is_code = modules.iter().any(|module| module.range.contains(&address));
            // Without a table the frame pointer is tried, which may hold anything.
            if addresses.len() == FRAMES_COUNT_MAX || (!is_code && !addresses.is_empty()) {
                break;
            }
            addresses.push(address);
        }
        addresses
    }
}

/// The word at an address of a stack whose copy begins with what lies at `sp`.
fn read_word(sp: u64, stack: &[u8], address: u64) -> Option<u64> {
    let offset = usize::try_from(address.checked_sub(sp)?).ok()?;
    Some(u64::from_le_bytes(*stack.get(offset..)?.first_chunk()?))
}

fn framehop_module(module: &LoadedModule) -> Module<&'static [u8]> {
    let in_file = |bytes: &[u8]| {
        let start = (bytes.as_ptr() as u64).wrapping_sub(module.bias);
        start..start + bytes.len() as u64
    };
    let tables = module.tables;
    let sections = ExplicitModuleSectionInfo {
        eh_frame_hdr_svma: tables.map(|tables| in_file(tables.index)),
        eh_frame_hdr: tables.map(|tables| tables.index),
        eh_frame_svma: tables.map(|tables| in_file(tables.frames)),
        eh_frame: tables.map(|tables| tables.frames),
        ..ExplicitModuleSectionInfo::default()
    };
    Module::new(module.name.clone(), module.range.clone(), module.bias, sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_within_the_copy_alone() {
        let stack: Vec<u8> = (0..32).collect();
        assert_eq!(read_word(1_000, &stack, 1_000), Some(0x0706_0504_0302_0100));
        assert_eq!(read_word(1_000, &stack, 1_024), Some(0x1f1e_1d1c_1b1a_1918));
        for outside in [999, 1_025, 1_032, 0, u64::MAX] {
            assert_eq!(read_word(1_000, &stack, outside), None, "{outside}");
        }
    }
}
