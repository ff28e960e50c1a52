package document

// Limits bound what is read. A zero field means its default.
type Limits struct {
	SetBytes      int // all sources of a set together; default 8 MiB
	DocumentBytes int // one document; default 1 MiB
	Nodes         int // values in one document, aliases expanded; default 100,000
	Depth         int // nesting; default 64
	Documents     int // documents of a set; default 20,000
	Problems      int // reported; default 50
}

// WithDefaults returns l with every zero field replaced by its default.
func (l Limits) WithDefaults() Limits {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&l.SetBytes, 8<<20)
	set(&l.DocumentBytes, 1<<20)
	set(&l.Nodes, 100_000)
	set(&l.Depth, 64)
	set(&l.Documents, 20_000)
	set(&l.Problems, 50)
	return l
}
