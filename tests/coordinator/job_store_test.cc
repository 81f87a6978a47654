// The SQLite store: what was appended is read back, by one coordinator at a time.
#include "coordinator/job_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sqlite3.h>

#include <filesystem>
#include <fstream>

#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

StoredEvent Event(const std::string& job, int64_t id, const std::string& kind) {
  StoredEvent event;
  event.job = job;
  event.id = id;
  event.wall_ns = 1'700'000'000'000'000'000 + id;
  event.kind = kind;
  event.body = std::string("\0body\xff", 6);
  event.state = 3;
  event.reason_code = "TRAINING";
  event.reason = "attempt 1 trains";
  event.exit_code = 71;
  event.attempt = 1;
  return event;
}

std::vector<int64_t> Ids(const absl::StatusOr<std::vector<StoredEvent>>& events) {
  EXPECT_TRUE(events.ok()) << events.status();
  std::vector<int64_t> ids;
  if (!events.ok()) return ids;
  for (const StoredEvent& event : *events) ids.push_back(event.id);
  return ids;
}

class JobStoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<JobStore> Open() {
    absl::StatusOr<std::unique_ptr<JobStore>> store = OpenSqliteStore(path_);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }
  void WriteFile(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }

  testing::TemporaryDirectory directory_;
  const std::string path_ = directory_ / "jobs.db";
};

TEST_F(JobStoreTest, ReadsBackEveryFieldAfterReopening) {
  ASSERT_TRUE(Open()->Append({Event("jobs/a", 1, "created")}).ok());
  const auto events = Open()->Read("jobs/a", 0, 10);
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_THAT(*events, SizeIs(1));
  const StoredEvent want = Event("jobs/a", 1, "created");
  const StoredEvent& got = (*events)[0];
  EXPECT_EQ(got.job, want.job);
  EXPECT_EQ(got.id, want.id);
  EXPECT_EQ(got.wall_ns, want.wall_ns);
  EXPECT_EQ(got.kind, want.kind);
  EXPECT_EQ(got.body, want.body);
  EXPECT_EQ(got.state, want.state);
  EXPECT_EQ(got.reason_code, want.reason_code);
  EXPECT_EQ(got.reason, want.reason);
  EXPECT_EQ(got.exit_code, want.exit_code);
  EXPECT_EQ(got.attempt, want.attempt);
}

TEST_F(JobStoreTest, ReadsOneJobFromAnIdUpToALimit) {
  const auto store = Open();
  for (int64_t id = 1; id <= 5; ++id) {
    ASSERT_TRUE(store->Append({Event("jobs/a", id, "ready"), Event("jobs/b", id, "ready")}).ok());
  }
  EXPECT_THAT(Ids(store->Read("jobs/a", 2, 2)), ElementsAre(3, 4));
  EXPECT_THAT(Ids(store->Read("jobs/a", 5, 2)), IsEmpty());
  EXPECT_THAT(Ids(store->Read("jobs/none", 0, 2)), IsEmpty());
}

TEST_F(JobStoreTest, ReplaysAllButStepsAndTheLastStepOfEachJob) {
  const auto store = Open();
  ASSERT_TRUE(store
                  ->Append({Event("jobs/a", 1, "created"), Event("jobs/a", 2, "step"),
                            Event("jobs/a", 3, "step"), Event("jobs/b", 10, "created"),
                            Event("jobs/b", 11, "step"), Event("jobs/a", 4, "exited")})
                  .ok());
  EXPECT_THAT(Ids(store->ReadForReplay()), ElementsAre(1, 3, 10, 11, 4));
}

TEST_F(JobStoreTest, AppendsAllEventsOrNone) {
  const auto store = Open();
  ASSERT_TRUE(store->Append({Event("jobs/a", 1, "created")}).ok());
  const absl::Status status =
      store->Append({Event("jobs/a", 2, "placed"), Event("jobs/a", 1, "created")});
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss)
      << "not \"said before\": the log holds something else; " << status;
  EXPECT_THAT(Ids(store->Read("jobs/a", 0, 10)), ElementsAre(1));
  EXPECT_TRUE(store->Append({Event("jobs/a", 2, "placed")}).ok());
}

TEST_F(JobStoreTest, RefusesWhatItCannotHoldAndKeepsNoPartOfIt) {
  const auto store = Open();
  StoredEvent large = Event("jobs/a", 1, "created");
  large.body.resize((size_t{256} << 20) + 1);
  EXPECT_TRUE(absl::IsResourceExhausted(store->Append({large})));
  EXPECT_TRUE(absl::IsResourceExhausted(store->PutPlan("h", large.body)));
  EXPECT_TRUE(absl::IsNotFound(store->GetPlan("h").status()));
  EXPECT_THAT(Ids(store->Read("jobs/a", 0, 10)), ElementsAre());
}

TEST_F(JobStoreTest, KeepsPlansByHash) {
  const std::string bytes("\0plan", 5);
  {
    const auto store = Open();
    ASSERT_TRUE(store->PutPlan("h1", bytes).ok());
    ASSERT_TRUE(store->PutPlan("h1", bytes).ok()) << "writing it again is harmless";
  }
  const auto store = Open();
  EXPECT_EQ(store->GetPlan("h1").value_or(""), bytes);
  EXPECT_EQ(store->GetPlan("h2").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(JobStoreTest, RefusesASecondCoordinator) {
  const auto store = Open();
  ASSERT_TRUE(store->Append({Event("jobs/a", 1, "created")}).ok());
  const absl::Status second = OpenSqliteStore(path_).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition) << second;
  EXPECT_THAT(second.message(), HasSubstr("in use by another coordinator"));
  EXPECT_TRUE(store->Append({Event("jobs/a", 2, "placed")}).ok()) << "the first is not disturbed";
}

// Somebody who looks into the file, as sqlite3 FILE 'select ...' does.
class Reader {
 public:
  explicit Reader(const std::string& path) { EXPECT_EQ(sqlite3_open(path.c_str(), &database_), 0); }
  ~Reader() { sqlite3_close(database_); }
  int Do(const char* sql) { return sqlite3_exec(database_, sql, nullptr, nullptr, nullptr); }

 private:
  sqlite3* database_ = nullptr;
};

// Item 36.
TEST_F(JobStoreTest, IsReadBesideARunningCoordinator) {
  const auto store = Open();
  ASSERT_TRUE(store->Append({Event("jobs/a", 1, "created")}).ok());
  Reader reader(path_);
  EXPECT_EQ(reader.Do("SELECT * FROM events"), SQLITE_OK);
  ASSERT_EQ(reader.Do("BEGIN; SELECT * FROM events"), SQLITE_OK) << "it stays";
  EXPECT_TRUE(store->Append({Event("jobs/a", 2, "placed")}).ok());
  EXPECT_THAT(Ids(store->Read("jobs/a", 0, 10)), ElementsAre(1, 2));
}

TEST_F(JobStoreTest, AReaderKeepsNoCoordinatorFromStarting) {
  ASSERT_TRUE(Open()->Append({Event("jobs/a", 1, "created")}).ok());
  Reader reader(path_);
  ASSERT_EQ(reader.Do("BEGIN; SELECT * FROM events"), SQLITE_OK);
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_TRUE(store->Append({Event("jobs/a", 2, "placed")}).ok());
}

TEST_F(JobStoreTest, SaysThatItsFileIsGoneUntilItIsBack) {
  const auto store = Open();
  EXPECT_TRUE(store->Check().ok());
  std::filesystem::rename(path_, path_ + ".moved");
  EXPECT_TRUE(absl::IsUnavailable(store->Check())) << store->Check();
  const absl::Status refused = store->Append({Event("jobs/a", 1, "created")});
  EXPECT_TRUE(absl::IsUnavailable(refused));
  EXPECT_THAT(refused.message(), HasSubstr(path_ + " was removed or replaced"));
  WriteFile("");
  EXPECT_TRUE(absl::IsUnavailable(store->Check())) << "another file of that name";
  std::filesystem::rename(path_ + ".moved", path_);
  EXPECT_TRUE(store->Check().ok());
  EXPECT_TRUE(store->Append({Event("jobs/a", 1, "created")}).ok());
}

TEST_F(JobStoreTest, NamesAFileThatIsNoStore) {
  WriteFile(std::string(8192, 'x'));
  const absl::Status status = OpenSqliteStore(path_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(status.message(), HasSubstr(path_));
}

TEST_F(JobStoreTest, ReportsDamageInTheMiddleOfTheFile) {
  {
    const auto store = Open();
    for (int64_t id = 1; id <= 400; ++id) {
      ASSERT_TRUE(store->Append({Event("jobs/a", id, "ready")}).ok());
    }
  }
  std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(0, std::ios::end);
  const std::streamoff size = file.tellg();
  ASSERT_GT(size, 16384);
  file.seekp(4096);  // the header's page stays
  file << std::string(static_cast<size_t>(size) - 4096, '\xee');
  file.close();
  const auto store = OpenSqliteStore(path_);
  const absl::Status status = store.ok() ? (*store)->ReadForReplay().status() : store.status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
}

TEST_F(JobStoreTest, RefusesAFolderThatDoesNotExist) {
  const absl::Status status = OpenSqliteStore(directory_ / "none/jobs.db").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(status.message(), HasSubstr("none/jobs.db"));
}

TEST_F(JobStoreTest, RefusesTheFormatOfANewerRelease) {
  Open().reset();
  std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(60);  // user_version, big-endian
  file.write("\0\0\0\2", 4);
  file.close();
  const absl::Status status = OpenSqliteStore(path_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(status.message(), HasSubstr("format 2"));
}

}  // namespace
}  // namespace birkhoff
