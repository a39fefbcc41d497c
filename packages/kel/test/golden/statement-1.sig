{
  "payloadType": "application/vnd.keyturn.statement+json",
  "payload": "eyJ0eXBlIjoia2V5dHVybi5zdGF0ZW1lbnQiLCJzY2hlbWEiOjEsInB1cnBvc2UiOiJmaWxlIiwiaWRlbnRpdHkiOiJFTS1XRkRMTzZOeC1nbVZNUGw0VmhpS1Joc3NCbmRUUUIzaG9DT0c4Z0l6NSIsInNuIjoyLCJzYWlkIjoiRU1MNkJqUmtPdVFmQ1ZVZ1VqTVZTa21nSnltS09FWk1RSktWckhhLWc3b24iLCJzaGEyNTYiOiI1YWMwM2RhMTdkN2Q1MjQxYjQ5YTlhOTRmODZiMDhhNDMxZDcwNTJjODU4NWNhOTk3YjM3M2YwYmM3ZGEwZGNjIiwibmFtZSI6ImdvbGRlbiIsImNsYWltZWRfYXQiOiIyMDI2LTExLTE4VDExOjA2OjQwLjAwMFoifQ==",
  "signatures": [
    {
      "keyid": "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394",
      "sig": "yp/RRa8uiLhHRrf1FhsMwDEullXp+POJRZVErnTHAQPZPQC/vsgQcA8Jt2nnxc8+BQbxQyjb8BWR8A47I1kcAA=="
    }
  ]
}
