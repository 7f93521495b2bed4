//! What must be known of a table to open it without reading it.

use crate::codec::Input;
use crate::error::FormatError;
use crate::ids::{FileId, TableId};

use super::footer::Footer;
use super::properties::Properties;
use super::unit::{UnitKind, UnitRef};

/// What the manifest holds of a table.
///
/// ```text
///  0 u64 store, 8 u64 number, 16 u64 offset: the table's id
/// 24 u64 length of the table
/// 32 u64 offset of the top unit, 40 u32 its length
/// 44     the body of the properties unit
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// The table.
    pub id: TableId,
    /// Length in bytes, a multiple of 4,096.
    pub len: u64,
    /// Where the top unit is.
    pub top: UnitRef,
    /// What is known of the table as a whole.
    pub properties: Properties,
}

impl TableInfo {
    /// What a footer and the properties say together.
    pub fn of(footer: &Footer, properties: Properties) -> TableInfo {
        TableInfo { id: footer.table, len: footer.len, top: footer.top, properties }
    }

    /// Appends the bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let numbers = [self.id.file.store, self.id.file.number, self.id.offset, self.len, self.top.offset];
        out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
        out.extend_from_slice(&self.top.len.to_le_bytes());
        self.properties.encode(out);
    }

    /// Reads the bytes, and nothing but them.
    pub fn decode(bytes: &[u8]) -> Result<TableInfo, FormatError> {
        let mut input = Input::new(bytes);
        let info = TableInfo::read(&mut input)?;
        input.end()?;
        Ok(info)
    }

    /// Reads the bytes; others may follow.
    pub(crate) fn read(input: &mut Input<'_>) -> Result<TableInfo, FormatError> {
        let file = FileId { store: input.u64()?, number: input.u64()? };
        let id = TableId { file, offset: input.u64()? };
        let len = input.u64()?;
        let top = UnitRef { kind: UnitKind::Top, offset: input.u64()?, len: input.u32()? };
        let ends_within = top.offset.checked_add(u64::from(top.len)).is_some_and(|end| end <= len);
        if !ends_within || !len.is_multiple_of(host::ALIGNMENT as u64) {
            return Err(FormatError::Malformed("a table lies beyond its end"));
        }
        Ok(TableInfo { id, len, top, properties: Properties::read(input)? })
    }
}
