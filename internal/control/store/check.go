package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// openDBTimeout bounds the wait for bbolt's own lock, which nobody should hold while ours is.
const openDBTimeout = 2 * time.Second

// checkFiles reads the server's files in dir and reports the first damage. A directory without any is new.
// It costs one pass over at most quotaBytes.
func checkFiles(ctx context.Context, dir string) error {
	db := filepath.Join(dir, "member", "snap", "db")
	walDir := filepath.Join(dir, "member", "wal")
	haveDB, err := exists(db)
	if err != nil {
		return accessError(dir, err)
	}
	haveWAL, err := exists(walDir)
	if err != nil {
		return accessError(dir, err)
	}
	switch {
	case !haveDB && !haveWAL:
		return nil
	case !haveWAL:
		return corrupt(walDir, errors.New("the write-ahead log is missing, the database is there"))
	case !haveDB:
		return corrupt(db, errors.New("the database is missing, the write-ahead log is there"))
	}
	if err := checkDB(ctx, db); err != nil {
		return err
	}
	return checkWAL(walDir)
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func corrupt(file string, err error) error {
	return &Error{
		Kind: ErrCorrupt, Place: file, Reason: "the file is damaged: " + err.Error(), Code: exitData, Err: err,
		Remedy: "restore the data directory from a backup, or remove it to begin with an empty mesh (Weft removes nothing by itself)",
	}
}

// checkDB walks the whole tree itself, for bbolt checks in a goroutine of its own, where nobody could recover. bbolt trusts its pages: a damaged one is a panic, or a fault when it points
// outside the file. Both are caught here, in the goroutine that walks.
func checkDB(ctx context.Context, file string) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = corrupt(file, fmt.Errorf("%v", p))
		}
	}()
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true, Timeout: openDBTimeout})
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return accessError(filepath.Dir(file), err)
		}
		return corrupt(file, err)
	}
	defer func() {
		if cerr := db.Close(); err == nil && cerr != nil {
			err = corrupt(file, cerr)
		}
	}()
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return checkBucket(ctx, string(name), b)
		})
	})
	if ctx.Err() != nil {
		return &Error{Kind: ErrUnreachable, Place: file, Reason: "interrupted while checking", Code: exitUnavailable, Err: ctx.Err()}
	}
	if err != nil {
		return corrupt(file, err)
	}
	return nil
}

func checkBucket(ctx context.Context, name string, b *bolt.Bucket) error {
	var last []byte
	return b.ForEach(func(k, v []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if last != nil && string(k) <= string(last) {
			return fmt.Errorf("bucket %q: keys out of order", name)
		}
		last = k
		// The server reads every record of this bucket when it starts, and gives up on one it cannot.
		if name == "key" {
			if err := proto.Unmarshal(v, &mvccpb.KeyValue{}); err != nil {
				return fmt.Errorf("bucket %q: record %x: %w", name, k, err)
			}
		}
		return nil
	})
}

// checkWAL verifies the log's checksums. A torn last record is what a crash leaves, and no damage.
func checkWAL(dir string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = corrupt(dir, fmt.Errorf("%v", p))
		}
	}()
	snaps, err := wal.ValidSnapshotEntries(zap.NewNop(), dir)
	if err != nil {
		return corrupt(dir, err)
	}
	if len(snaps) == 0 {
		return corrupt(dir, errors.New("the write-ahead log has no starting point"))
	}
	if _, err := wal.Verify(zap.NewNop(), dir, snaps[len(snaps)-1]); err != nil {
		return corrupt(dir, err)
	}
	return nil
}
