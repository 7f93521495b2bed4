//! The number of every command: what a log entry names it by.

/// Declares the numbers once, and from them the way back from a number.
macro_rules! command_ids {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// A command, or a subcommand of one. The numbers stand in logs: none is ever changed or used again.
        ///
        /// Strings count from 1, keys from 64, server from 128, connection from 192, and subcommands from 256 on in
        /// steps of 64 for each container.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum CommandId {
            $($(#[$doc])* $name = $number,)*
        }

        impl CommandId {
            /// Every command and subcommand, in the order of their declaration.
            pub const ALL: &[CommandId] = &[$(CommandId::$name,)*];

            /// The command of that number, if there is one: the number may come from a damaged log.
            pub const fn from_u16(number: u16) -> Option<CommandId> {
                match number {
                    $($number => Some(CommandId::$name),)*
                    _ => None,
                }
            }

            /// The command's number.
            pub const fn as_u16(self) -> u16 {
                self as u16
            }
        }
    };
}

command_ids! {
    /// `GET key`.
    Get = 1,
    /// `SET key value [NX | XX | IFEQ value] [GET] [EX s | PX ms | EXAT time | PXAT time | KEEPTTL]`.
    Set = 2,
    /// `SETNX key value`.
    SetNx = 3,
    /// `GETSET key value`.
    GetSet = 4,
    /// `GETDEL key`.
    GetDel = 5,
    /// `MGET key [key ...]`.
    MGet = 6,
    /// `MSET key value [key value ...]`.
    MSet = 7,
    /// `MSETNX key value [key value ...]`.
    MSetNx = 8,
    /// `APPEND key value`.
    Append = 9,
    /// `STRLEN key`.
    StrLen = 10,
    /// `GETRANGE key start end`.
    GetRange = 11,
    /// `SUBSTR key start end`, the old name of `GETRANGE`.
    SubStr = 12,
    /// `SETRANGE key offset value`.
    SetRange = 13,
    /// `INCR key`.
    Incr = 14,
    /// `DECR key`.
    Decr = 15,
    /// `INCRBY key increment`.
    IncrBy = 16,
    /// `DECRBY key decrement`.
    DecrBy = 17,
    /// `INCRBYFLOAT key increment`.
    IncrByFloat = 18,
    /// `SETEX key seconds value`.
    SetEx = 19,
    /// `PSETEX key milliseconds value`.
    PSetEx = 20,
    /// `GETEX key [EX seconds | PX milliseconds | EXAT time | PXAT time | PERSIST]`.
    GetEx = 21,
    /// `DELIFEQ key value`.
    DelIfEq = 22,

    /// `DEL key [key ...]`.
    Del = 64,
    /// `UNLINK key [key ...]`.
    Unlink = 65,
    /// `EXISTS key [key ...]`.
    Exists = 66,
    /// `TYPE key`.
    Type = 67,
    /// `TOUCH key [key ...]`.
    Touch = 68,
    /// `EXPIRE key seconds [NX | XX | GT | LT]`.
    Expire = 69,
    /// `PEXPIRE key milliseconds [NX | XX | GT | LT]`.
    PExpire = 70,
    /// `EXPIREAT key time-seconds [NX | XX | GT | LT]`.
    ExpireAt = 71,
    /// `PEXPIREAT key time-milliseconds [NX | XX | GT | LT]`.
    PExpireAt = 72,
    /// `PERSIST key`.
    Persist = 73,
    /// `TTL key`.
    Ttl = 74,
    /// `PTTL key`.
    PTtl = 75,
    /// `EXPIRETIME key`.
    ExpireTime = 76,
    /// `PEXPIRETIME key`.
    PExpireTime = 77,
    /// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`.
    Scan = 78,
    /// `KEYS pattern`.
    Keys = 79,
    /// `RANDOMKEY`.
    RandomKey = 80,
    /// `RENAME key newkey`.
    Rename = 81,
    /// `RENAMENX key newkey`.
    RenameNx = 82,
    /// `COPY source destination [DB destination-db] [REPLACE]`.
    Copy = 83,
    /// `OBJECT`, which takes a subcommand.
    Object = 84,
    /// `DUMP key`.
    Dump = 85,
    /// `RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds | FREQ frequency]`.
    Restore = 86,

    /// `DBSIZE`.
    DbSize = 128,
    /// `FLUSHALL [ASYNC | SYNC]`.
    FlushAll = 129,
    /// `FLUSHDB [ASYNC | SYNC]`.
    FlushDb = 130,
    /// `TIME`.
    Time = 131,
    /// `INFO [section ...]`.
    Info = 132,
    /// `COMMAND`, bare or with a subcommand.
    Command = 133,
    /// `CONFIG`, which takes a subcommand.
    Config = 134,
    /// `MEMORY`, which takes a subcommand.
    Memory = 135,
    /// `LATENCY`, which takes a subcommand.
    Latency = 136,
    /// `SLOWLOG`, which takes a subcommand.
    SlowLog = 137,
    /// `MONITOR`.
    Monitor = 138,
    /// `COMMANDLOG`, which takes a subcommand.
    CommandLog = 139,
    /// `CORACLE`, which takes a subcommand.
    Coracle = 140,

    /// `PING [message]`.
    Ping = 192,
    /// `ECHO message`.
    Echo = 193,
    /// `SELECT index`.
    Select = 194,
    /// `QUIT`.
    Quit = 195,
    /// `RESET`.
    Reset = 196,
    /// `HELLO [protover [AUTH username password] [SETNAME clientname]]`.
    Hello = 197,
    /// `AUTH [username] password`.
    Auth = 198,
    /// `CLIENT`, which takes a subcommand.
    Client = 199,
    /// `CLUSTER`, which takes a subcommand.
    Cluster = 200,
    /// `READONLY`.
    ReadOnly = 201,
    /// `READWRITE`.
    ReadWrite = 202,
    /// `ASKING`.
    Asking = 203,

    /// `COMMAND COUNT`.
    CommandCount = 256,
    /// `COMMAND INFO [name ...]`.
    CommandInfo = 257,
    /// `COMMAND DOCS [name ...]`.
    CommandDocs = 258,
    /// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`.
    CommandList = 259,
    /// `COMMAND GETKEYS command [arg ...]`.
    CommandGetKeys = 260,
    /// `COMMAND HELP`.
    CommandHelp = 261,

    /// `CONFIG GET pattern [pattern ...]`.
    ConfigGet = 320,
    /// `CONFIG RESETSTAT`.
    ConfigResetStat = 321,
    /// `CONFIG HELP`.
    ConfigHelp = 322,
    /// `CONFIG SET name value [name value ...]`.
    ConfigSet = 323,
    /// `CONFIG REWRITE`.
    ConfigRewrite = 324,

    /// `CLIENT ID`.
    ClientId = 384,
    /// `CLIENT INFO`.
    ClientInfo = 385,
    /// `CLIENT LIST [TYPE type] [ID id ...]`.
    ClientList = 386,
    /// `CLIENT SETNAME name`.
    ClientSetName = 387,
    /// `CLIENT GETNAME`.
    ClientGetName = 388,
    /// `CLIENT SETINFO LIB-NAME name | LIB-VER version`.
    ClientSetInfo = 389,
    /// `CLIENT NO-EVICT ON | OFF`.
    ClientNoEvict = 390,
    /// `CLIENT NO-TOUCH ON | OFF`.
    ClientNoTouch = 391,
    /// `CLIENT HELP`.
    ClientHelp = 392,

    /// `CLUSTER SLOTS`.
    ClusterSlots = 448,
    /// `CLUSTER SHARDS`.
    ClusterShards = 449,
    /// `CLUSTER NODES`.
    ClusterNodes = 450,
    /// `CLUSTER INFO`.
    ClusterInfo = 451,
    /// `CLUSTER MYID`.
    ClusterMyId = 452,
    /// `CLUSTER MYSHARDID`.
    ClusterMyShardId = 453,
    /// `CLUSTER KEYSLOT key`.
    ClusterKeySlot = 454,
    /// `CLUSTER COUNTKEYSINSLOT slot`.
    ClusterCountKeysInSlot = 455,
    /// `CLUSTER GETKEYSINSLOT slot count`.
    ClusterGetKeysInSlot = 456,
    /// `CLUSTER REPLICAS node`.
    ClusterReplicas = 457,
    /// `CLUSTER LINKS`.
    ClusterLinks = 458,
    /// `CLUSTER HELP`.
    ClusterHelp = 459,

    /// `OBJECT ENCODING key`.
    ObjectEncoding = 512,
    /// `OBJECT REFCOUNT key`.
    ObjectRefCount = 513,
    /// `OBJECT HELP`.
    ObjectHelp = 514,
    /// `OBJECT FREQ key`.
    ObjectFreq = 515,
    /// `OBJECT IDLETIME key`.
    ObjectIdleTime = 516,

    /// `MEMORY USAGE key [SAMPLES count]`.
    MemoryUsage = 576,
    /// `MEMORY HELP`.
    MemoryHelp = 577,

    /// `LATENCY HISTOGRAM [command ...]`.
    LatencyHistogram = 640,
    /// `LATENCY LATEST`.
    LatencyLatest = 641,
    /// `LATENCY HISTORY event`.
    LatencyHistory = 642,
    /// `LATENCY RESET [event ...]`.
    LatencyReset = 643,
    /// `LATENCY DOCTOR`.
    LatencyDoctor = 644,
    /// `LATENCY HELP`.
    LatencyHelp = 645,

    /// `SLOWLOG GET [count]`.
    SlowLogGet = 704,
    /// `SLOWLOG LEN`.
    SlowLogLen = 705,
    /// `SLOWLOG RESET`.
    SlowLogReset = 706,
    /// `SLOWLOG HELP`.
    SlowLogHelp = 707,

    /// `COMMANDLOG GET count SLOW | LARGE-REQUEST | LARGE-REPLY`.
    CommandLogGet = 768,
    /// `COMMANDLOG LEN SLOW | LARGE-REQUEST | LARGE-REPLY`.
    CommandLogLen = 769,
    /// `COMMANDLOG RESET SLOW | LARGE-REQUEST | LARGE-REPLY`.
    CommandLogReset = 770,
    /// `COMMANDLOG HELP`.
    CommandLogHelp = 771,

    /// `CORACLE HOTKEYS [COUNT count]`.
    CoracleHotKeys = 832,
    /// `CORACLE SLOWLOG [count]`.
    CoracleSlowLog = 833,
    /// `CORACLE HELP`.
    CoracleHelp = 834,
    /// `CORACLE COMPARE [group]`.
    CoracleCompare = 835,
    /// `CORACLE COMPARISON [group]`.
    CoracleComparison = 836,
    /// `CORACLE SCRUB [STATUS]`.
    CoracleScrub = 837,
    /// `CORACLE NODES`.
    CoracleNodes = 838,
    /// `CORACLE GROUPS`.
    CoracleGroups = 839,
    /// `CORACLE REPLACE node`.
    CoracleReplace = 840,
    /// `CORACLE JOIN token incarnation name host gateway-port core-port peer-port admin-port cores [rack]`.
    CoracleJoin = 841,
    /// `CORACLE TOKEN [EX seconds]`.
    CoracleToken = 842,
    /// `CORACLE REMOVE node`.
    CoracleRemove = 843,
    /// `CORACLE MOVE group from to`.
    CoracleMove = 844,
    /// `CORACLE TRANSFER group node`.
    CoracleTransfer = 845,
    /// `CORACLE STATUS`.
    CoracleStatus = 850,
    /// `CORACLE DRAIN node`.
    CoracleDrain = 851,
    /// `CORACLE UNDRAIN node`.
    CoracleUndrain = 852,
    /// `CORACLE DECOMMISSION node`.
    CoracleDecommission = 853,
    /// `CORACLE TASKS`.
    CoracleTasks = 854,
    /// `CORACLE PLAN DECOMMISSION node`.
    CoraclePlan = 855,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_leads_back_to_its_command_and_no_other_does() {
        let known = (0..=u16::MAX).filter_map(CommandId::from_u16).count();
        assert_eq!(known, CommandId::ALL.len());
        for &id in CommandId::ALL {
            assert_eq!(CommandId::from_u16(id.as_u16()), Some(id));
        }
    }

    #[test]
    fn numbers_that_stand_in_logs_have_not_moved() {
        let expected = [
            (CommandId::Get, 1),
            (CommandId::Set, 2),
            (CommandId::MSet, 7),
            (CommandId::IncrByFloat, 18),
            (CommandId::Del, 64),
            (CommandId::Touch, 68),
            (CommandId::FlushAll, 129),
            (CommandId::FlushDb, 130),
        ];
        for (id, number) in expected {
            assert_eq!(id.as_u16(), number, "{id:?}");
        }
    }
}
