//! The format of pprof: `profile.proto` of <https://github.com/google/pprof>, compressed with gzip.

use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::modules::LoadedModule;
use crate::proto::Message;
use crate::symbols::SourceLine;

/// What a number of a sample counts, and in which unit.
pub(crate) type ValueType = (&'static str, &'static str);

/// What a profile is about.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// What the values of each sample are.
    pub(crate) values: Vec<ValueType>,
    /// The name of the one that is shown first; the last one if none is said to be.
    pub(crate) default_value: Option<&'static str>,
    /// Names of functions, as a regular expression, that are not shown, nor what they call.
    pub(crate) drop_frames: Option<&'static str>,
    /// Of what one sample is taken per `period`.
    pub(crate) period_type: ValueType,
    pub(crate) period: u64,
    /// When it was begun.
    pub(crate) begun: SystemTime,
    /// For how long samples were taken; zero for one moment.
    pub(crate) duration: Duration,
}

/// A profile that is being written.
pub(crate) struct Profile<R> {
    message: Message,
    strings: Strings,
    modules: Vec<LoadedModule>,
    resolve: R,
    locations: HashMap<u64, u64>,
    functions: HashMap<(u64, u64), u64>,
}

impl<R: FnMut(u64) -> Vec<SourceLine>> Profile<R> {
    /// Nothing yet. `resolve` tells the functions of an address, the innermost first.
    pub(crate) fn new(head: &Head, modules: Vec<LoadedModule>, resolve: R) -> Profile<R> {
        let mut profile = Profile {
            message: Message::default(),
            strings: Strings::default(),
            modules,
            resolve,
            locations: HashMap::new(),
            functions: HashMap::new(),
        };
        for value in &head.values {
            let value = profile.value_type(*value);
            profile.message.message(1, &value);
        }
        let since_1970 = head.begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        profile.message.number(9, since_1970.as_nanos() as u64);
        profile.message.number(10, head.duration.as_nanos() as u64);
        let period_type = profile.value_type(head.period_type);
        profile.message.message(11, &period_type);
        profile.message.number(12, head.period);
        if let Some(names) = head.drop_frames {
            let place = profile.strings.place(names);
            profile.message.number(7, place);
        }
        if let Some(name) = head.default_value {
            let place = profile.strings.place(name);
            profile.message.number(14, place);
        }
        profile.mappings();
        profile
    }

    /// Adds a sample: addresses within instructions, the innermost first, one number for each type of value, and labels.
    pub(crate) fn sample(&mut self, addresses: &[u64], values: &[u64], labels: &[(&str, &str)]) {
        let mut sample = Message::default();
        let locations: Vec<u64> = addresses.iter().map(|address| self.location(*address)).collect();
        sample.numbers(1, locations);
        sample.numbers(2, values.iter().copied());
        for (key, value) in labels {
            let mut label = Message::default();
            label.number(1, self.strings.place(key));
            label.number(2, self.strings.place(value));
            sample.message(3, &label);
        }
        self.message.message(2, &sample);
    }

    /// Adds a line for whoever reads the profile.
    pub(crate) fn comment(&mut self, text: &str) {
        let place = self.strings.place(text);
        self.message.numbers(13, [place]);
    }

    /// The bytes of the file.
    pub(crate) fn into_gzip(mut self) -> Vec<u8> {
        for text in &self.strings.list {
            self.message.text(6, text);
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.message.into_bytes()).expect("a Vec takes everything");
        encoder.finish().expect("a Vec takes everything")
    }

    fn value_type(&mut self, (name, unit): ValueType) -> Message {
        let mut message = Message::default();
        message.number(1, self.strings.place(name));
        message.number(2, self.strings.place(unit));
        message
    }

    /// What is mapped, so that addresses make sense to tools that look into the files.
    fn mappings(&mut self) {
        for (idx, module) in self.modules.iter().enumerate() {
            let mut mapping = Message::default();
            mapping.number(1, idx as u64 + 1);
            mapping.number(2, module.range.start);
            mapping.number(3, module.range.end);
            mapping.number(5, self.strings.place(&module.name));
            // It has functions, files, lines and what was inlined: nobody needs the file to find them.
            (7..=10).for_each(|field| mapping.number(field, 1));
            self.message.message(3, &mapping);
        }
    }

    fn location(&mut self, address: u64) -> u64 {
        if let Some(id) = self.locations.get(&address) {
            return *id;
        }
        let id = self.locations.len() as u64 + 1;
        self.locations.insert(address, id);
        let mut location = Message::default();
        location.number(1, id);
        let mapping = self.modules.iter().position(|module| module.range.contains(&address));
        location.number(2, mapping.map_or(0, |idx| idx as u64 + 1));
        location.number(3, address);
        for source in (self.resolve)(address) {
            let mut line = Message::default();
            line.number(1, self.function(&source));
            line.number(2, source.line.into());
            location.message(4, &line);
        }
        self.message.message(4, &location);
        id
    }

    fn function(&mut self, source: &SourceLine) -> u64 {
        let (name, file) = (self.strings.place(&source.name), self.strings.place(&source.file));
        let next = self.functions.len() as u64 + 1;
        let id = *self.functions.entry((name, file)).or_insert(next);
        if id == next {
            let mut function = Message::default();
            function.number(1, id);
            function.number(2, name);
            function.number(3, self.strings.place(&source.system_name));
            function.number(4, file);
            self.message.message(5, &function);
        }
        id
    }
}

/// The texts of a profile, each once. The first is empty.
struct Strings {
    list: Vec<String>,
    places: HashMap<String, u64>,
}

impl Default for Strings {
    fn default() -> Strings {
        Strings { list: vec![String::new()], places: HashMap::from([(String::new(), 0)]) }
    }
}

impl Strings {
    fn place(&mut self, text: &str) -> u64 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = self.list.len() as u64;
        self.list.push(text.to_owned());
        self.places.insert(text.to_owned(), place);
        place
    }
}
