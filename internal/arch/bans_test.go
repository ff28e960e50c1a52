package arch

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// ban is a call that is not made, and what is done instead. It concerns code, not tests.
type ban struct {
	calls   []string
	where   func(*source) bool
	instead string
}

func bans() []ban {
	internal := func(s *source) bool { return strings.HasPrefix(s.name, "internal/") }
	library := func(s *source) bool { return !s.main }
	return []ban{
		{[]string{"time.After"}, internal, "its timer runs on after the select has gone another way: make one with time.NewTimer and stop it"},
		{[]string{"fmt.Print", "fmt.Println", "fmt.Printf", "print", "println"}, internal, "write to the io.Writer or slog.Logger that was passed in"},
		{[]string{"os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln"}, library, "return an error; only main ends the process"},
		{[]string{"context.Background", "context.TODO"}, library, "take the caller's context; work that outlives it has context.WithoutCancel and a bound"},
	}
}

// allowed exceptions: "file: call" and why.
func allowed() map[string]string {
	return map[string]string{}
}

func TestBannedCalls(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call := callee(n)
			for _, b := range bans() {
				if call == "" || !slices.Contains(b.calls, call) || !b.where(s) {
					continue
				}
				key := s.name + ": " + call
				if used[key] = true; allowed()[key] == "" {
					t.Errorf("%s:%d: %s: %s", s.name, s.line(n.Pos()), call, b.instead)
				}
			}
			return true
		})
	}
	for key := range allowed() {
		if !used[key] {
			t.Errorf("%s is allowed and not used: take it off the list", key)
		}
	}
}

// callee is "package.Function" or "function" of a call, by its text.
func callee(n ast.Node) string {
	c, ok := n.(*ast.CallExpr)
	if !ok {
		return ""
	}
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok && x.Obj == nil { // not a variable of that name
			return x.Name + "." + f.Sel.Name
		}
	}
	return ""
}

func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s:%d: init(): what runs on import cannot be ordered, tested or left out", s.name, s.line(f.Pos()))
			}
		}
	}
}

// Package-level state ties tests together and makes two meshes in one process impossible. This finds variables
// that are assigned to, or of types that exist to change; it does not find what is changed through a pointer.
func TestNoPackageLevelState(t *testing.T) {
	vars := map[string]map[string]bool{} // package -> its variables
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		if vars[s.pkg] == nil {
			vars[s.pkg] = map[string]bool{}
		}
		for _, spec := range packageVars(s.file) {
			for _, n := range spec.Names {
				vars[s.pkg][n.Name] = true
			}
			if kind := changeable(spec); kind != "" {
				t.Errorf("%s:%d: package-level %s: put it in a struct", s.name, s.line(spec.Pos()), kind)
			}
		}
	}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, id := range assigned(s.file) {
			if id.Name != "_" && vars[s.pkg][id.Name] && packageLevel(s.file, id) {
				t.Errorf("%s:%d: package variable %s is assigned to: put it in a struct", s.name, s.line(id.Pos()), id.Name)
			}
		}
	}
}

func packageVars(f *ast.File) []*ast.ValueSpec {
	var all []*ast.ValueSpec
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
			for _, s := range g.Specs {
				all = append(all, s.(*ast.ValueSpec))
			}
		}
	}
	return all
}

// changeable names the type of a variable that is only good for changing: locks, atomics, channels, made maps.
func changeable(spec *ast.ValueSpec) string {
	typ := spec.Type
	for _, v := range spec.Values {
		if c, ok := v.(*ast.CallExpr); ok && callee(c) == "make" && len(c.Args) > 0 {
			return "make"
		}
		if l, ok := v.(*ast.CompositeLit); ok && typ == nil {
			typ = l.Type
		}
	}
	if x, ok := typ.(*ast.IndexExpr); ok {
		typ = x.X
	}
	if sel, ok := typ.(*ast.SelectorExpr); ok {
		if p, ok := sel.X.(*ast.Ident); ok && (p.Name == "sync" || p.Name == "atomic") {
			return p.Name + "." + sel.Sel.Name
		}
	}
	return ""
}

// assigned are the variables whose value, element or field a file's functions set.
func assigned(f *ast.File) []*ast.Ident {
	var all []*ast.Ident
	add := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.Ident:
				all = append(all, x)
				return
			case *ast.IndexExpr:
				e = x.X
			case *ast.SelectorExpr:
				e = x.X
			case *ast.ParenExpr:
				e = x.X
			default:
				return
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch s := n.(type) {
		case *ast.AssignStmt:
			if s.Tok != token.DEFINE {
				for _, l := range s.Lhs {
					add(l)
				}
			}
		case *ast.IncDecStmt:
			add(s.X)
		}
		return true
	})
	return all
}

// packageLevel reports whether an identifier is not a local of its function. Variables of other files of the
// package have no object here.
func packageLevel(f *ast.File, id *ast.Ident) bool {
	return id.Obj == nil || f.Scope.Lookup(id.Name) == id.Obj
}
