// One table of events, one of plans.  Statements are prepared per call: an append costs an fsync,
// beside which preparing is nothing.
#include "coordinator/job_store.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <fstream>
#include <limits>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/disk.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

// Stored in the file (PRAGMA user_version): a file of another number is refused.
constexpr int kFormatVersion = 1;

constexpr char kNoFile[] = ":memory:";
constexpr int kBusyMilliseconds = 1000;  // what somebody else's transaction may take

constexpr int kLargestValueBytes = 256 << 20;  // what a message may hold, a plan at most

constexpr char kSchema[] =
    "CREATE TABLE IF NOT EXISTS events ("
    " sequence INTEGER PRIMARY KEY, job TEXT NOT NULL, id INTEGER NOT NULL, wall_ns INTEGER,"
    " kind TEXT NOT NULL, body BLOB, state INTEGER, reason_code TEXT, reason TEXT,"
    " exit_code INTEGER, attempt INTEGER, UNIQUE (job, id));"
    // A restart reads a few state events and one step per job, however many steps there are.
    "CREATE INDEX IF NOT EXISTS state_events ON events (sequence) WHERE kind <> 'step';"
    "CREATE INDEX IF NOT EXISTS step_events ON events (job, sequence) WHERE kind = 'step';"
    "CREATE TABLE IF NOT EXISTS plans (hash TEXT PRIMARY KEY, bytes BLOB) WITHOUT ROWID;";
constexpr char kColumns[] =
    "job, id, wall_ns, kind, body, state, reason_code, reason, exit_code, attempt";

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close(database); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

absl::Status ToStatus(int code, sqlite3* database, const char* what) {
  if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW) return absl::OkStatus();
  const std::string message = absl::StrCat("job store: ", what, ": ", sqlite3_errmsg(database));
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(message);
    case SQLITE_CONSTRAINT:  // another event has the number: log and memory have come apart
      return absl::DataLossError(message);
    case SQLITE_TOOBIG:
    case SQLITE_NOMEM:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

// A prepared statement; bindings count from 1, columns from 0, as in SQLite.  A binding that was
// refused is told by the next Next.
class Statement {
 public:
  static absl::StatusOr<Statement> Prepare(sqlite3* database, const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    RETURN_IF_ERROR(ToStatus(sqlite3_prepare_v2(database, sql.c_str(), -1, &statement, nullptr),
                             database, "prepare"));
    return Statement(database, statement);
  }
  void Bind(int at, int64_t value) { Keep(sqlite3_bind_int64(statement_.get(), at, value)); }
  void Bind(int at, const std::string& text) {
    Keep(sqlite3_bind_text64(statement_.get(), at, text.data(), text.size(), SQLITE_TRANSIENT,
                             SQLITE_UTF8));
  }
  void BindBlob(int at, const std::string& bytes) {
    Keep(sqlite3_bind_blob64(statement_.get(), at, bytes.data(), bytes.size(), SQLITE_TRANSIENT));
  }
  // True while there is a row.
  absl::StatusOr<bool> Next() {
    RETURN_IF_ERROR(ToStatus(std::exchange(bound_, SQLITE_OK), database_, "bind"));
    const int code = sqlite3_step(statement_.get());
    RETURN_IF_ERROR(ToStatus(code, database_, "step"));
    return code == SQLITE_ROW;
  }
  void Reset() { sqlite3_reset(statement_.get()); }
  int64_t Integer(int at) const { return sqlite3_column_int64(statement_.get(), at); }
  std::string Bytes(int at) const {
    const void* data = sqlite3_column_blob(statement_.get(), at);
    if (data == nullptr) return "";
    return std::string(static_cast<const char*>(data), sqlite3_column_bytes(statement_.get(), at));
  }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  Statement(sqlite3* database, sqlite3_stmt* statement)
      : database_(database), statement_(statement) {}
  void Keep(int code) {
    if (bound_ == SQLITE_OK) bound_ = code;
  }
  sqlite3* database_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bound_ = SQLITE_OK;  // of the first binding that was refused
};

absl::Status Execute(sqlite3* database, const char* sql) {
  return ToStatus(sqlite3_exec(database, sql, nullptr, nullptr, nullptr), database, sql);
}

StoredEvent ReadRow(const Statement& row) {
  StoredEvent event;
  event.job = row.Bytes(0);
  event.id = row.Integer(1);
  event.wall_ns = row.Integer(2);
  event.kind = row.Bytes(3);
  event.body = row.Bytes(4);
  event.state = static_cast<int>(row.Integer(5));
  event.reason_code = row.Bytes(6);
  event.reason = row.Bytes(7);
  event.exit_code = static_cast<int>(row.Integer(8));
  event.attempt = static_cast<int>(row.Integer(9));
  return event;
}

absl::StatusOr<std::vector<StoredEvent>> ReadRows(Statement& statement) {
  std::vector<StoredEvent> events;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, statement.Next());
    if (!more) return events;
    events.push_back(ReadRow(statement));
  }
}

// Which file has a name; nobody's: no file.
struct FileId {
  dev_t device = 0;
  ino_t inode = 0;
  friend bool operator==(const FileId&, const FileId&) = default;
};
FileId IdOf(const std::string& path) {
  struct stat file = {};
  return ::stat(path.c_str(), &file) == 0 ? FileId{file.st_dev, file.st_ino} : FileId{};
}

class SqliteStore final : public JobStore {
 public:
  SqliteStore(std::string path, std::unique_ptr<FileLock> lock, Database database)
      : path_(std::move(path)),
        id_(IdOf(path_)),
        lock_(std::move(lock)),
        database_(std::move(database)) {}

  absl::Status Check() const override {
    if (path_ == kNoFile || IdOf(path_) == id_) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat(
        "job store: ", path_,
        " was removed or replaced while this coordinator uses it, and "
        "nothing is accepted that would be lost; put it back, or start the coordinator anew"));
  }

  absl::Status Append(const std::vector<StoredEvent>& events) override {
    RETURN_IF_ERROR(Check());
    absl::MutexLock lock(&mutex_);
    RETURN_IF_ERROR(Execute(database_.get(), "BEGIN IMMEDIATE"));
    absl::Status status = Insert(events);
    if (status.ok()) status = Execute(database_.get(), "COMMIT");
    if (!status.ok()) (void)Execute(database_.get(), "ROLLBACK");
    return status;
  }

  absl::StatusOr<std::vector<StoredEvent>> Read(const std::string& job, int64_t after_id,
                                                int limit) const override {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(
        Statement select,
        Statement::Prepare(database_.get(), absl::StrCat("SELECT ", kColumns,
                                                         " FROM events WHERE job = ?1 AND "
                                                         "id > ?2 ORDER BY id LIMIT ?3")));
    select.Bind(1, job);
    select.Bind(2, after_id);
    select.Bind(3, limit);
    return ReadRows(select);
  }

  absl::StatusOr<std::vector<StoredEvent>> ReadForReplay() const override {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(
        Statement select,
        Statement::Prepare(database_.get(),
                           absl::StrCat("SELECT ", kColumns,
                                        " FROM events WHERE kind <> 'step' OR "
                                        "sequence IN (SELECT MAX(sequence) FROM events WHERE "
                                        "kind = 'step' GROUP BY job) ORDER BY sequence")));
    return ReadRows(select);
  }

  absl::Status PutPlan(const std::string& hash, const std::string& bytes) override {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(
        Statement insert,
        Statement::Prepare(database_.get(), "INSERT OR REPLACE INTO plans VALUES (?1, ?2)"));
    insert.Bind(1, hash);
    insert.BindBlob(2, bytes);
    return insert.Next().status();
  }

  absl::StatusOr<std::string> GetPlan(const std::string& hash) const override {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(Statement select,
                     Statement::Prepare(database_.get(), "SELECT bytes FROM plans WHERE hash = ?"));
    select.Bind(1, hash);
    ASSIGN_OR_RETURN(const bool found, select.Next());
    if (!found) return absl::NotFoundError(absl::StrCat("job store: no plan ", hash));
    return select.Bytes(0);
  }

 private:
  absl::Status Insert(const std::vector<StoredEvent>& events)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ASSIGN_OR_RETURN(
        Statement insert,
        Statement::Prepare(database_.get(), absl::StrCat("INSERT INTO events (", kColumns,
                                                         ") VALUES "
                                                         "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)")));
    for (const StoredEvent& event : events) {
      insert.Bind(1, event.job);
      insert.Bind(2, event.id);
      insert.Bind(3, event.wall_ns);
      insert.Bind(4, event.kind);
      insert.BindBlob(5, event.body);
      insert.Bind(6, event.state);
      insert.Bind(7, event.reason_code);
      insert.Bind(8, event.reason);
      insert.Bind(9, event.exit_code);
      insert.Bind(10, event.attempt);
      RETURN_IF_ERROR(insert.Next().status());
      insert.Reset();
    }
    return absl::OkStatus();
  }

  const std::string path_;
  const FileId id_;
  const std::unique_ptr<FileLock> lock_;  // null: no file
  mutable absl::Mutex mutex_;
  Database database_ ABSL_GUARDED_BY(mutex_);
};

// A file of somebody else's is not written into.
absl::Status NotOurs(const std::string& path) {
  return absl::FailedPreconditionError(absl::StrCat(
      "job store ", path, " is a file of another kind; need a new file, or one of birkhoffd's"));
}

absl::Status CheckStorePath(const std::string& path) {
  if (path.empty()) {
    return absl::InvalidArgumentError(
        "job store: nothing is no place to keep jobs in; need the path of a file (--store)");
  }
  constexpr std::string_view kMagic("SQLite format 3\0", 16);
  std::ifstream file(path, std::ios::binary);
  std::string head(kMagic.size(), '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  const bool empty = !file.is_open() || file.gcount() == 0;  // SQLite says what it thinks of that
  if (empty || head == kMagic) return absl::OkStatus();
  return absl::DataLossError(NotOurs(path).message());
}

// Of a database without a version: it is new, or another program's.
absl::Status CheckIsNew(sqlite3* database, const std::string& path) {
  ASSIGN_OR_RETURN(Statement select,
                   Statement::Prepare(database, "SELECT COUNT(*) FROM sqlite_master"));
  RETURN_IF_ERROR(select.Next().status());
  return select.Integer(0) == 0 ? absl::OkStatus() : NotOurs(path);
}

absl::Status CheckVersion(sqlite3* database, const std::string& path) {
  ASSIGN_OR_RETURN(Statement select, Statement::Prepare(database, "PRAGMA user_version"));
  RETURN_IF_ERROR(select.Next().status());
  const int64_t version = select.Integer(0);
  if (version == kFormatVersion) return absl::OkStatus();
  if (version == 0) return CheckIsNew(database, path);
  return absl::FailedPreconditionError(
      absl::StrCat("job store ", path, " has format ", version, "; this release reads format ",
                   kFormatVersion, ": use the release that wrote it, or another --store"));
}

absl::Status Prepare(sqlite3* database, const std::string& path) {
  sqlite3_extended_result_codes(database, 1);
  sqlite3_limit(database, SQLITE_LIMIT_LENGTH, kLargestValueBytes);
  sqlite3_busy_timeout(database, kBusyMilliseconds);
  RETURN_IF_ERROR(CheckVersion(database, path));  // before anything is written
  RETURN_IF_ERROR(Execute(database, "PRAGMA journal_mode = WAL"));
  RETURN_IF_ERROR(Execute(database, "PRAGMA synchronous = FULL"));
  RETURN_IF_ERROR(Execute(database, "BEGIN EXCLUSIVE"));
  RETURN_IF_ERROR(Execute(database, kSchema));
  RETURN_IF_ERROR(
      Execute(database, absl::StrCat("PRAGMA user_version = ", kFormatVersion).c_str()));
  return Execute(database, "COMMIT");
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteStore(const std::string& path) {
  RETURN_IF_ERROR(CheckStorePath(path));
  const auto in_use = [&path] {
    return absl::FailedPreconditionError(
        absl::StrCat("job store ", path, " is in use by another coordinator"));
  };
  std::unique_ptr<FileLock> lock;  // kept until the store goes, or the process ends
  if (path != kNoFile) {
    absl::StatusOr<std::unique_ptr<FileLock>> taken = PosixDisk().Lock(path + ".lock");
    if (absl::IsFailedPrecondition(taken.status())) return in_use();
    if (!taken.ok()) {
      return absl::UnavailableError(absl::StrCat("job store: ", taken.status().message()));
    }
    lock = *std::move(taken);
  }
  sqlite3* raw = nullptr;
  const int code = sqlite3_open(path.c_str(), &raw);
  Database database(raw);
  absl::Status status = ToStatus(code, raw, "open");
  if (status.ok()) status = Prepare(raw, path);
  if (status.ok()) {
    return std::make_unique<SqliteStore>(path, std::move(lock), std::move(database));
  }
  const int last = raw == nullptr ? SQLITE_NOMEM : sqlite3_errcode(raw);
  if ((last & 0xff) == SQLITE_BUSY) return in_use();  // one of an earlier release holds it
  return absl::Status(status.code(), absl::StrCat(status.message(), " (", path, ")"));
}

}  // namespace birkhoff
