//! Ports that are not free at once.

use super::*;

#[test]
fn a_core_goes_on_with_the_port_that_was_taken() {
    let config = Config::of_test(1, 1, 1);
    let port = config.map.nodes[0].core_addr(CoreId(0)).port();
    let host = TestHost::default();
    let mut core = block_on(Core::start(host.clone(), config)).unwrap();
    host.set_taken_port(Some(port));
    for _ in 0..2 {
        let error = core.listen().unwrap_err();
        assert!(matches!(error, Error::Listen { addr, .. } if addr.port() == port), "{error}");
    }
    host.set_taken_port(None);
    core.listen().unwrap();
    assert_eq!((host.listeners_count(), core.listeners.len()), (3, 3), "each port once");
}
