//! Reading all rows of a version to see whether they are what was written.

use host::{Disk, IoClass};

use crate::error::Error;
use crate::table::{Content, Value};
use crate::version::Version;
use crate::write::Pace;

use super::need::Target;
use super::reader::Reader;
use super::version_cursor::{Progress, VersionCursor};

/// Reads all rows that a version says of, and the values that they lead to, whose checksums are checked by that.
///
/// # Errors
/// The first damage, by its file and place.
pub async fn verify<D: Disk, P: Pace>(
    reader: &Reader<D>,
    version: &Version,
    class: IoClass,
    pace: &P,
) -> Result<(), Error> {
    let mut cursor = VersionCursor::of_version(version);
    cursor.seek(Target::First);
    loop {
        match cursor.poll() {
            Progress::Arrived => {}
            Progress::Busy => continue,
            Progress::Need(need) => {
                cursor.supply(reader.unit_once(&need, class).await?);
                pace.pause(need.unit.len as usize).await;
                continue;
            }
        }
        let Some(row) = cursor.row() else { return Ok(()) };
        if let Content::Put(put) = row.content
            && let Value::Blob(blob) = put.value
        {
            let bytes = reader.blob(version, blob, row.key, class).await?;
            let value = bytes.record().and_then(|record| record.value().map(drop));
            value.map_err(|source| reader.damaged_blob(version, blob, source))?;
            pace.pause(blob.len as usize).await;
        }
        cursor.next();
    }
}
