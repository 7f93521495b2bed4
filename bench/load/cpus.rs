//! On which CPUs the threads of the generator run.

use std::fmt;
use std::str::FromStr;

use core_affinity::CoreId;

use crate::error::Error;

/// The highest number of a CPU.
const CPU_MAX: usize = 4_095;

/// Numbers of CPUs, each once, in the order in which threads get them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpus(Vec<usize>);

impl Cpus {
    /// How many there are; none means that threads run wherever the kernel puts them.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The CPU of a thread.
    pub fn of_thread(&self, thread_idx: usize) -> Option<usize> {
        self.0.get(thread_idx % self.0.len().max(1)).copied()
    }

    /// Makes sure that this process may run on all of them.
    ///
    /// # Errors
    /// [`Error::Usage`] that names the CPUs that there are.
    pub fn check(&self) -> Result<(), Error> {
        let allowed: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
        match self.0.iter().find(|cpu| !allowed.contains(cpu)) {
            None => Ok(()),
            Some(cpu) => {
                let allowed = Cpus(allowed);
                Err(Error::Usage(format!("--cpus names CPU {cpu}; this process may run on {allowed}")))
            }
        }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, cpu) in self.0.iter().enumerate() {
            write!(f, "{}{cpu}", if idx > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Cpus {
    type Err = String;

    /// Reads `0,2-3`.
    fn from_str(text: &str) -> Result<Cpus, String> {
        let number = |text: &str| {
            let number: Option<usize> = text.parse().ok().filter(|number| *number <= CPU_MAX);
            number.ok_or_else(|| format!("`{text}` is no number of a CPU; write 0,2-3"))
        };
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("the range `{part}` ends before it begins"));
            }
            for cpu in first..=last {
                if cpus.contains(&cpu) {
                    return Err(format!("CPU {cpu} is there twice"));
                }
                cpus.push(cpu);
            }
        }
        Ok(Cpus(cpus))
    }
}

/// Keeps the thread that calls it on a CPU.
///
/// # Errors
/// [`Error::Usage`] if the kernel refuses.
pub(crate) fn pin_thread(cpu: usize) -> Result<(), Error> {
    if core_affinity::set_for_current(CoreId { id: cpu }) {
        return Ok(());
    }
    Err(Error::Usage(format!("a thread cannot be kept on CPU {cpu}; leave out --cpus, or name another one")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read_and_dealt_in_turn() {
        let cpus: Cpus = "0,2-4".parse().unwrap();
        assert_eq!((cpus.count(), cpus.to_string().as_str()), (4, "0,2,3,4"));
        let dealt: Vec<_> = (0..5).filter_map(|thread| cpus.of_thread(thread)).collect();
        assert_eq!(dealt, [0, 2, 3, 4, 0]);
        assert_eq!(Cpus::default().of_thread(3), None);
        for bad in ["", "x", "3-1", "1,1", "0-2,2", "9999"] {
            assert!(bad.parse::<Cpus>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_thread_stays_where_it_is_put() {
        let allowed: Vec<usize> = core_affinity::get_core_ids().unwrap().iter().map(|core| core.id).collect();
        let last = *allowed.last().unwrap();
        let seen = std::thread::spawn(move || {
            pin_thread(last).unwrap();
            core_affinity::get_core_ids().unwrap().iter().map(|core| core.id).collect::<Vec<_>>()
        });
        assert_eq!(seen.join().unwrap(), [last]);
        assert!(Cpus(allowed).check().is_ok());
        let said = Cpus(vec![CPU_MAX]).check().unwrap_err().to_string();
        assert!(said.contains("--cpus names CPU 4095"), "{said}");
    }
}
