//! The registers that unwinding begins with.

use framehop::UnwindRegsNative;

/// Registers of an interrupted thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Registers {
    /// The instruction that it was at.
    pub(crate) pc: u64,
    /// The top of its stack.
    pub(crate) sp: u64,
    /// Its frame pointer, or whatever else the register holds.
    fp: u64,
    /// Where the function returns to, on machines that keep that in a register.
    #[cfg(target_arch = "aarch64")]
    lr: u64,
}

impl Registers {
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn of_context(context: &libc::ucontext_t) -> Registers {
        let at = |register: libc::c_int| context.uc_mcontext.gregs[register as usize] as u64;
        Registers { pc: at(libc::REG_RIP), sp: at(libc::REG_RSP), fp: at(libc::REG_RBP) }
    }

    #[cfg(target_arch = "aarch64")]
    pub(crate) fn of_context(context: &libc::ucontext_t) -> Registers {
        let machine = &context.uc_mcontext;
        Registers { pc: machine.pc, sp: machine.sp, fp: machine.regs[29], lr: machine.regs[30] }
    }

    #[cfg(target_arch = "x86_64")]
    pub(crate) fn to_unwind(self) -> UnwindRegsNative {
        UnwindRegsNative::new(self.pc, self.sp, self.fp)
    }

    #[cfg(target_arch = "aarch64")]
    pub(crate) fn to_unwind(self) -> UnwindRegsNative {
        UnwindRegsNative::new(self.lr, self.sp, self.fp)
    }
}
