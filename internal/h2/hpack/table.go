package hpack

// MaxTable is the size of a dynamic table, as RFC 7541 section 4.1 counts, that is used at most.
const MaxTable = 4096

// overhead is what an entry counts beside its strings (section 4.1).
const overhead = 32

// maxEntries is how many fit: a power of two, so that a ring needs no division.
const maxEntries = MaxTable / overhead

// table is a dynamic table (section 2.3.2): a ring of entries, numbered from 1 in the order they came. The
// live ones are those above gone.
type table struct {
	entries *[maxEntries]entry // made with the first one
	last    uint32             // number of the newest entry
	gone    uint32             // number of the newest that was evicted
	size    uint32
	max     uint32
}

// entry is a field of the table with the sink's note on it.
type entry struct {
	field
	note uint8
}

func (t *table) at(number uint32) *entry { return &t.entries[number%maxEntries] }

// find returns the entry of an index, counted from the newest, which is 1; nil if there is none.
func (t *table) find(index uint64) *entry {
	if index == 0 || index > uint64(t.last-t.gone) {
		return nil
	}
	return t.at(t.last + 1 - uint32(index))
}

// add puts an entry in front and evicts what no longer fits. An entry larger than the table empties it
// (section 4.4). The table keeps the strings.
func (t *table) add(name, value string) {
	size := uint32(len(name)+len(value)) + overhead
	if size > t.max {
		t.shrink(0)
		return
	}
	t.shrink(t.max - size)
	if t.entries == nil {
		t.entries = new([maxEntries]entry)
	}
	t.last++
	*t.at(t.last) = entry{field: field{name, value}}
	t.size += size
}

// shrink evicts the oldest entries until at most size is left.
func (t *table) shrink(size uint32) {
	for t.size > size {
		t.gone++
		e := t.at(t.gone)
		t.size -= uint32(len(e.name)+len(e.value)) + overhead
		*e = entry{}
	}
}

// resize sets the table's bound.
func (t *table) resize(most uint32) {
	t.max = most
	t.shrink(most)
}
